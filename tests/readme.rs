//! The README's picture is the one that `imflow graph` draws of the shipped topology.
//!
//! `UPDATE_GOLDEN=1 cargo test --test readme` writes it anew.

use std::fs;
use std::process::Command;

const BEGIN: &str = "<!-- graph:begin -->\n";
const END: &str = "<!-- graph:end -->";

#[test]
fn the_picture_is_the_shipped_graph() {
    let root = env!("CARGO_MANIFEST_DIR");
    let output =
        Command::new(env!("CARGO_BIN_EXE_imflow")).arg("graph").current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let picture = format!("```mermaid\n{}```\n", String::from_utf8(output.stdout).unwrap());
    let path = format!("{root}/README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let begin = readme.find(BEGIN).expect("the README has the picture's markers") + BEGIN.len();
    let end = readme.find(END).expect("the README has the picture's markers");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{}{picture}{}", &readme[..begin], &readme[end..])).unwrap();
        return;
    }
    assert_eq!(&readme[begin..end], picture, "run this test with UPDATE_GOLDEN=1");
}
