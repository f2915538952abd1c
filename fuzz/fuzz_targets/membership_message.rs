#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::members::{Step, membership_message};

fuzz_target!(|steps: Vec<Step>| membership_message(steps));
