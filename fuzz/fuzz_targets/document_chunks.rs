#![no_main]

use libfuzzer_sys::fuzz_target;
use meshwork_fuzz::texts::document_chunks;

fuzz_target!(|bytes: &[u8]| document_chunks(bytes));
