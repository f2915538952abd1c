#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::doors::invite_decode;

fuzz_target!(|bytes: &[u8]| invite_decode(bytes));
