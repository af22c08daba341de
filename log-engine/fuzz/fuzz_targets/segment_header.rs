//! See `quorate_log_engine_fuzz::segment_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quorate_log_engine_fuzz::segment_header(data);
});
