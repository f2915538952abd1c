#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::merges::object_merge;

fuzz_target!(|bytes: &[u8]| object_merge(bytes));
