#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::merges::{History, object_merge};

fuzz_target!(|input: History| object_merge(input));
