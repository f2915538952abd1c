//! A node on a disk that fills up, as its user sees it.
//!
//! The disk is a tmpfs in a mount namespace of the test's own; says that it was skipped where that is not permitted.

use std::process::Command;

use crate::site::{Site, eventually};

const FOLDER: &str = "MESHWORK_TEST_SMALL_DISK";
/// Exit code of the shell when the disk cannot be made.
const NO_MOUNT: i32 = 77;

#[test]
fn a_full_disk_refuses_writes_says_so_and_takes_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=96m none \"${FOLDER}\" || exit {NO_MOUNT}\n\
         exec \"$0\" --exact --nocapture full_disk::child_fills_the_disk"
    );
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .env("TMPDIR", folder.path())
        .status();
    let may_mount = Command::new("unshare").args(["-m", "true"]).status();
    match (ran, may_mount) {
        (Ok(ran), Ok(may)) if may.success() && ran.code() != Some(NO_MOUNT) => {
            assert!(ran.success());
        }
        _ => eprintln!("SKIPPED: making a small disk is not permitted here"),
    }
}

/// Not a test by itself: runs where all temporary folders lie on the small disk.
#[test]
fn child_fills_the_disk() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let mut site = Site::founded("one");
    site.ok(&["put", "notes/first", "kept"]);
    let mut ballast = Vec::new();
    let (code, said) = loop {
        let path = format!("{folder}/ballast{}", ballast.len());
        std::fs::write(&path, vec![1; 4 << 20]).unwrap();
        ballast.push(path);
        let put = site.run(&["put", "notes/more", "x"]);
        if !put.status.success() {
            let said = String::from_utf8(put.stderr).unwrap();
            break (put.status.code(), said);
        }
    };
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("disk") && said.contains("free"), "{said}");
    assert_eq!(site.ok(&["get", "notes/first"]), "kept\n", "reads go on");
    let status = site.ok(&["status"]);
    assert!(status.contains("WRITES ARE REFUSED"), "{status}");

    for path in ballast {
        std::fs::remove_file(path).unwrap();
    }
    eventually("writes are taken again", || {
        let put = site.run(&["put", "notes/last", "kept as well"]);
        put.status.success().then_some(())
    });
    site.signal("-KILL");
    assert!(!site.ended().success());
    site.up();
    assert_eq!(site.ok(&["get", "notes/first"]), "kept\n");
    assert_eq!(site.ok(&["get", "notes/last"]), "kept as well\n");
}
