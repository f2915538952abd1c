#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::identifiers::keys_and_partitions;

fuzz_target!(|bytes: &[u8]| keys_and_partitions(bytes));
