#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::placement::{Views, placement_moves};

fuzz_target!(|input: Views| placement_moves(input));
