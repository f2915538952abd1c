#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::merges::{CustomHistory, custom_merge};

fuzz_target!(|input: CustomHistory| custom_merge(input));
