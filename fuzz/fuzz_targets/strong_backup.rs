#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::strong::strong_backup;

fuzz_target!(|bytes: &[u8]| strong_backup(bytes));
