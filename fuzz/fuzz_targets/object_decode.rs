#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::objects::object_decode;

fuzz_target!(|bytes: &[u8]| object_decode(bytes));
