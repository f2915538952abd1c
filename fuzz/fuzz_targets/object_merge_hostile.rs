#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::objects::object_merge_hostile;

fuzz_target!(|bytes: &[u8]| object_merge_hostile(bytes));
