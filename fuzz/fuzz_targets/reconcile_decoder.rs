#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::reconciliation::reconcile_decoder;

fuzz_target!(|bytes: &[u8]| reconcile_decoder(bytes));
