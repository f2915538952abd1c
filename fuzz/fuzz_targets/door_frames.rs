#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::doors::door_frames;

fuzz_target!(|bytes: &[u8]| door_frames(bytes));
