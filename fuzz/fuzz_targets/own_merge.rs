#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::merges::own_merge;

fuzz_target!(|bytes: &[u8]| own_merge(bytes));
