//! Replays what is kept under `corpus/` and `artifacts/` through the targets, without a fuzzer.

use std::path::Path;

use meshwork_fuzz::TARGETS;

#[test]
fn every_kept_input_passes_its_target() {
    for (name, check) in TARGETS {
        let mut seeds = 0;
        for folder in ["corpus", "artifacts"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(folder)
                .join(name);
            for file in folder.read_dir().into_iter().flatten() {
                let path = file.expect("the folder can be listed").path();
                // Shown when a check fails.
                println!("{}", path.display());
                check(&std::fs::read(&path).expect("the file can be read"));
                seeds += usize::from(folder.ends_with(format!("corpus/{name}")));
            }
        }
        assert!(
            seeds > 0,
            "{name} has no seeds: add some to examples/write_seeds.rs and run it"
        );
    }
}
