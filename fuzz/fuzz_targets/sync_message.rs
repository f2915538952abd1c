#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::replication::{Step, sync_message};

fuzz_target!(|steps: Vec<Step>| sync_message(steps));
