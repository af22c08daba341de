//! See `quorate_log_engine_fuzz::batch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    quorate_log_engine_fuzz::batch(data);
});
