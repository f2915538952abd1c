#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::doors::ticket_parse;

fuzz_target!(|bytes: &[u8]| ticket_parse(bytes));
