#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::reconciliation::{Sets, reconcile_sets};

fuzz_target!(|input: Sets| reconcile_sets(input));
