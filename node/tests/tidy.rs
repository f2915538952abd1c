//! House rules that no lint knows: each test is one rule, and says what to do when it is broken.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a crate that must stay free of sockets, disks, clocks and async may not depend on.
const OUTSIDE_WORLD: [&str; 12] = [
    "async-std",
    "axum",
    "clap",
    "fjall",
    "futures",
    "getrandom",
    "libp2p",
    "quinn",
    "sled",
    "tempfile",
    "tokio",
    "ureq",
];
const CODE_LINES_MAX: usize = 800;

#[test]
fn dependencies_point_one_way() {
    let layers = [
        ("crdt", &[][..]),
        ("membership", &[][..]),
        ("dht", &["meshwork-crdt", "meshwork-membership"][..]),
        (
            "sync",
            &["meshwork-crdt", "meshwork-dht", "meshwork-membership"][..],
        ),
    ];
    for (folder, allowed) in layers {
        for name in dependencies(&read(&format!("{folder}/Cargo.toml"))) {
            assert!(
                !name.starts_with("meshwork") || allowed.contains(&name.as_str()),
                "{folder}/Cargo.toml depends on {name}: crates know only those below them \
                 (crdt <- membership, dht <- sync <- node); move the code, or pass what is needed in"
            );
            assert!(
                !OUTSIDE_WORLD.contains(&name.as_str()),
                "{folder}/Cargo.toml depends on {name}, and {folder} is a core: do it in the node and hand in the outcome"
            );
        }
    }
}

#[test]
fn no_file_has_more_code_than_fits_a_head() {
    for path in sources() {
        let lines = code_lines(&fs::read_to_string(&path).unwrap());
        assert!(
            lines <= CODE_LINES_MAX || is_test(&path),
            "{} has {lines} lines of code, more than {CODE_LINES_MAX}: give a part of it a file and a name of its own",
            shown(&path)
        );
    }
}

#[test]
fn modules_are_named_for_what_they_do() {
    let nameless = ["util", "utils", "common", "helper", "helpers", "misc"];
    for path in sources() {
        let inside = path.strip_prefix(root()).unwrap().with_extension("");
        let bad = inside
            .iter()
            .find(|part| nameless.iter().any(|name| part == name));
        assert!(
            bad.is_none(),
            "{}: name the module for what it does (`backoff`, `varint`), not {bad:?}",
            shown(&path)
        );
    }
}

#[test]
fn documents_and_manifests_agree_on_the_oldest_rust() {
    let version_in = |manifest: &str| {
        let text = read(manifest);
        let line = text
            .lines()
            .find(|line| line.starts_with("rust-version = "));
        line.and_then(|line| line.split('"').nth(1))
            .unwrap()
            .to_owned()
    };
    let version = version_in("Cargo.toml");
    for apart in ["fuzz/Cargo.toml", "crdt/rivals/Cargo.toml"] {
        assert_eq!(
            version_in(apart),
            version,
            "set rust-version in {apart} alike"
        );
    }
    assert!(
        read("README.md").contains(&format!("Rust {version}")),
        "README.md does not say that Rust {version} is needed, as Cargo.toml does: change one of them"
    );
    for document in ["README.md", "ARCHITECTURE.md", "fuzz/README.md"] {
        let text = read(document);
        for named in text.split("Rust 1.").skip(1) {
            let minor: String = named.chars().take_while(char::is_ascii_digit).collect();
            assert_eq!(
                format!("1.{minor}"),
                version,
                "{document} names another Rust than rust-version in Cargo.toml: change one of them"
            );
        }
    }
}

#[test]
fn every_place_that_the_architecture_names_exists() {
    let tops = [
        "crdt/",
        "membership/",
        "dht/",
        "sync/",
        "node/",
        "examples/",
        "fuzz/",
        "docs/",
    ];
    let text = read("ARCHITECTURE.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let mut places = 0;
    for place in quoted.filter(|quoted| tops.iter().any(|top| quoted.starts_with(top))) {
        places += 1;
        assert!(
            root().join(place).exists(),
            "ARCHITECTURE.md names {place}, which does not exist: bring the code map up to date"
        );
    }
    assert!(
        places > 10,
        "ARCHITECTURE.md has lost its code map, a table of folders in backticks"
    );
}

#[test]
fn every_fuzz_target_is_listed_seeded_and_run() {
    let files: BTreeSet<String> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let manifest = read("fuzz/Cargo.toml");
    let listed: BTreeSet<String> = manifest
        .split("[[bin]]")
        .skip(1)
        .map(|bin| bin.split('"').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        files, listed,
        "give each file of fuzz/fuzz_targets a [[bin]] in fuzz/Cargo.toml, and the other way round"
    );
    let replayed = read("fuzz/src/lib.rs");
    for target in &files {
        assert!(
            replayed.contains(&format!("\"{target}\"")),
            "add {target} to TARGETS in fuzz/src/lib.rs, so that its seeds and crashes are replayed"
        );
        assert!(
            root().join("fuzz/corpus").join(target).is_dir(),
            "{target} has no seeds: add some to fuzz/examples/write_seeds.rs and run it"
        );
    }
    assert!(
        read(".ci/fuzz").contains("fuzz list"),
        "let .ci/fuzz run all that `cargo fuzz list` names"
    );
    assert!(
        read(".ci/run").contains(".ci/fuzz"),
        "let .ci/run call .ci/fuzz"
    );
}

#[test]
fn nothing_is_left_for_later_without_an_issue() {
    // Written apart, or this file would break its own rule.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("for ", "now"),
    ];
    for (path, text) in texts() {
        for (number, line) in (1..).zip(text.lines()) {
            let mark = marks.iter().find(|mark| line.contains(**mark));
            assert!(
                mark.is_none() || line.contains(concat!("TO", "DO(#")),
                "{}:{number} leaves something for later: do it, leave it out, or name the issue as {}(#12)",
                shown(&path),
                marks[0]
            );
        }
    }
}

#[test]
fn nothing_names_a_machine_or_a_private_registry() {
    let foreign = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("sparse", "+http"),
        concat!("replace", "-with"),
    ];
    for (path, text) in texts() {
        for (number, line) in (1..).zip(text.lines()) {
            let found = foreign.iter().find(|name| line.contains(**name));
            assert!(
                found.is_none(),
                "{}:{number} holds {found:?}, which is true on one machine only: make it relative, or leave it out",
                shown(&path)
            );
        }
    }
    for lock in ["Cargo.lock", "fuzz/Cargo.lock", "crdt/rivals/Cargo.lock"] {
        let text = read(lock);
        for source in text.lines().filter(|line| line.starts_with("source = ")) {
            assert_eq!(
                source, "source = \"registry+https://github.com/rust-lang/crates.io-index\"",
                "{lock} takes a crate from elsewhere: use its release on crates.io"
            );
        }
    }
}

#[test]
fn lines_of_code_leave_out_comments_blanks_and_tests() {
    let file = "//! Docs.\n\nfn f() {} // why\n    // Comment.\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
    assert_eq!(code_lines(file), 1);
    assert_eq!(code_lines("#[cfg(test)]\nuse a::b;\nfn f() {}\n"), 3);
}

/// Names under `[dependencies]` and its relatives that are built into the crate.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            names.extend(section.strip_prefix("dependencies.").map(str::to_owned));
        } else if section.ends_with("dependencies")
            && section != "dev-dependencies"
            && !line.starts_with('#')
        {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.extend((!name.is_empty()).then(|| name.to_owned()));
        }
    }
    names
}

/// Lines that are neither blank nor a comment, up to the tests at the end.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let tests = lines
        .windows(2)
        .position(|pair| matches!(pair, ["#[cfg(test)]", next] if next.starts_with("mod ")));
    let code = lines.iter().take(tests.unwrap_or(lines.len()));
    code.filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

/// All files in Rust.
fn sources() -> Vec<PathBuf> {
    let mut files = files();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

/// All files that are text, with what they say.
fn texts() -> Vec<(PathBuf, String)> {
    let text = |path: PathBuf| fs::read_to_string(&path).ok().map(|text| (path, text));
    files().into_iter().filter_map(text).collect()
}

/// All files of the project, without what builds and fuzzers leave behind.
fn files() -> Vec<PathBuf> {
    let left_behind = [".git", "target", "corpus", "artifacts", "coverage"];
    let mut folders = vec![root()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if left_behind.iter().any(|left| name == *left) {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    assert!(
        files.len() > 100,
        "this is not the project: {}",
        root().display()
    );
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
