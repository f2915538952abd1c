#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::strong::{Step, strong_commands};

fuzz_target!(|steps: Vec<Step>| strong_commands(steps));
