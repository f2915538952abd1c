#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::objects::context_decode;

fuzz_target!(|bytes: &[u8]| context_decode(bytes));
