//! Completions are taken by the shells themselves, manual pages by the programs that show them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::needs::Need;

const S3SWEEP: &str = env!("CARGO_BIN_EXE_s3sweep");

/// Lines as typed, and what TAB makes of the last word.
const LINES: [(&str, &str); 4] = [
    ("s3sweep quar", "quarantine"),
    ("s3sweep marker exp", "export"),
    ("s3sweep once --rep", "--report"),
    ("s3sweep status --output j", "json"),
];

/// What the binary writes to stdout.
fn written(args: &[&str]) -> String {
    let output = Command::new(S3SWEEP).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The completions of a shell in a file.
fn completions(shell: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("_s3sweep");
    fs::write(&path, written(&["completions", shell])).unwrap();
    (folder, path)
}

/// What a shell says to a script; `None` where there is no such shell.
fn said(shell: &str, options: &[&str], script: &str, args: &[&Path]) -> Option<String> {
    let mut command = Command::new(shell);
    command.args(options).arg("-c").arg(script).arg(shell).args(args).stdin(Stdio::null());
    let output = command.output().ok()?;
    assert!(output.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn bash_completes() {
    let (_folder, path) = completions("bash");
    let script = r#"
        source "$1"
        declare -a COMP_WORDS=($2) COMPREPLY=()
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p s3sweep | sed 's/.*-F \([^ ]*\).*/\1/') s3sweep "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    for (line, word) in LINES {
        let said = said("bash", &["--norc"], script, &[&path, Path::new(line)]).expect("bash is everywhere");
        assert_eq!(said.lines().collect::<Vec<_>>(), [word], "{line}");
    }
}

#[test]
fn fish_completes() {
    let (_folder, path) = completions("fish");
    for (line, word) in LINES {
        let script = format!("source {}; complete --do-complete '{line}'", path.display());
        let Some(said) = said("fish", &["--no-config"], &script, &[]) else {
            return Need::Fish.is_missing("no fish here");
        };
        let words: Vec<_> = said.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect();
        assert_eq!(words, [word], "{line}");
    }
}

/// zsh completes in its line editor only: another zsh types into a terminal and has the line that
/// results written to a file.
#[test]
fn zsh_completes() {
    let (folder, path) = completions("zsh");
    let script = r#"
        zmodload zsh/zpty
        zpty editor zsh -f -i
        zpty -w editor "PS1='ready>'; fpath=(${1:h} \$fpath); autoload -Uz compinit; compinit -u -d $1.dump"
        zpty -w editor "shown() { print -r -- \"\$BUFFER\" > $1.line; exit }; zle -N shown; bindkey '^X' shown"
        zpty -w editor "unsetopt beep; zstyle ':completion:*' insert-tab false; print begun > $1.begun"
        for i in {1..200}; do [[ -e $1.begun ]] && break; sleep 0.05; done
        zpty -n -w editor "$2"$'\t\x18'
        for i in {1..200}; do [[ -s $1.line ]] && break; sleep 0.05; done
        cat $1.line
    "#;
    for (line, word) in LINES {
        for leftover in ["line", "begun"] {
            let _ = fs::remove_file(folder.path().join(format!("_s3sweep.{leftover}"))); // the first has none
        }
        let Some(said) = said("zsh", &["-f"], script, &[&path, Path::new(line)]) else {
            return Need::Zsh.is_missing("no zsh here");
        };
        let (before, _) = line.rsplit_once(' ').unwrap();
        // an option that takes a value is ready for it
        assert_eq!(said.trim_end().trim_end_matches('='), format!("{before} {word}"), "{line}");
    }
}

#[test]
fn an_unknown_shell_is_refused() {
    let output = Command::new(S3SWEEP).args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("zsh"), "those that there are");
}

/// The pages of all commands, in a folder.
fn pages() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    assert_eq!(written(&["man", "--dir", &dir.display().to_string()]), "");
    let mut pages: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    (folder, pages)
}

#[test]
fn each_command_has_a_manual_page() {
    let (_folder, pages) = pages();
    let names: Vec<_> = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
    for name in ["s3sweep.1", "s3sweep-run.1", "s3sweep-marker.1", "s3sweep-marker-export.1", "s3sweep-man.1"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("-help")), "{names:?}");
    let main = written(&["man"]);
    let page = pages.iter().find(|page| page.ends_with("s3sweep.1")).unwrap();
    assert_eq!(main.trim_end(), fs::read_to_string(page).unwrap().trim_end());
    for words in ["s3sweep\\-marker(1)", "Exit codes:", "\\-\\-config"] {
        assert!(main.contains(words), "{words}");
    }
    let blocked = Command::new(S3SWEEP).args(["man", "--dir", "/dev/null/man"]).output().unwrap();
    assert_eq!(blocked.status.code(), Some(2), "no folder can be made there");
}

#[test]
fn manual_pages_are_well_formed() {
    let (_folder, pages) = pages();
    let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).output();
    let Ok(lint) = lint else { return Need::Mandoc.is_missing("no mandoc here") };
    let said = String::from_utf8_lossy(&lint.stdout).into_owned();
    // pages without a date, and the paragraphs of their generator
    let known = ["missing date", "skipping paragraph macro"];
    let wrong: Vec<_> = said.lines().filter(|line| !known.iter().any(|known| line.contains(known))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
