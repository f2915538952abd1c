#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::doors::credential_decode;

fuzz_target!(|bytes: &[u8]| credential_decode(bytes));
