#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::members::membership_remembered;

fuzz_target!(|bytes: &[u8]| membership_remembered(bytes));
