//! `quorate-chaos grow`.

use std::process::ExitCode;

use clap::Args;
use quorate_chaos_tests::chaos::grow::{Settings, grow};
use serde_json::json;

use super::{block_on, fail};
use crate::Format;

const PRELOAD_BYTES_MAX: u64 = 16 << 30;

#[derive(Debug, Args)]
#[command(after_help = "\
Records of 1 KiB are produced to a cluster of three nodes, and go on being produced at --rate while a fourth one is added. \
Each node sends 10 MiB/s at most to replicas that catch up. Exit code 1 if what is read back is not what was acknowledged.

Example:
  quorate-chaos grow --partitions 60 --preload 100MiB --seconds 5")]
pub(crate) struct Arguments {
    /// Partitions, each with three replicas
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(4..=1_000))]
    partitions: u32,
    /// Bytes of records that are produced before anything is measured
    #[arg(long, value_name = "BYTES", default_value = "600MiB", value_parser = size)]
    preload: u64,
    /// Records a second while it is measured
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long is measured before the node is added
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// A number of bytes, or one of KiB, MiB or GiB.
fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let in_unit = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (number, unit) = in_unit.unwrap_or((text, 1));
    let bytes = number.trim_end().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let bytes = bytes.ok_or("not a size such as 600MiB")?;
    if (1..=PRELOAD_BYTES_MAX).contains(&bytes) { Ok(bytes) } else { Err("must lie within 1..=16GiB".to_owned()) }
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let Arguments { partitions, preload: preload_bytes, rate, seconds } = *arguments;
    let settings = Settings { partitions, preload_bytes, rate, seconds };
    let grown = match block_on(async { grow(settings).await.map_err(std::io::Error::other) }) {
        Ok(grown) => grown,
        Err(error) => return fail(&error),
    };
    match output {
        Format::Table => say!("{grown}"),
        Format::Json => {
            let rates = json!({ "mib_per_second": grown.mib_per_second(), "limit": grown.limit_mib_per_second() });
            let (unevenness, p99_ratio) = (grown.unevenness(), grown.p99_ratio());
            let measured =
                json!({ "measured": grown, "rates": rates, "unevenness": unevenness, "p99_ratio": p99_ratio });
            say!("{measured}");
        }
    }
    if grown.read_back.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        assert_eq!(["4096", "4KiB", "600MiB", "1 GiB"].map(size), [4 << 10, 4 << 10, 600 << 20, 1 << 30].map(Ok));
        for wrong in ["", "MiB", "-1", "1.5MiB", "0", "17GiB", "99999999999GiB", "4MB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
