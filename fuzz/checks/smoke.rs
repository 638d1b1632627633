//! The checks over seeds and fixtures, without libFuzzer.

use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "parquet")]
use super::parquet;
use super::{config, flow, gzip, json_lines, pattern, splitter, state};

/// The check, the least number of its seeds, and whether fixtures are inputs of it too.
type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("splitter", splitter::check),
    ("json_lines", json_lines::check),
    ("flow", flow::check),
    ("gzip", gzip::check),
    #[cfg(feature = "parquet")]
    ("parquet", parquet::check),
    ("pattern", pattern::check),
    ("state", state::check),
    ("config", config::check),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn every_seed_holds() {
    for &(name, check) in TARGETS {
        let seeds = files(&root().join("fuzz/seeds").join(name));
        assert!(seeds.len() >= 4, "{name} has seeds");
        for seed in seeds {
            println!("{}", seed.display());
            check(&fs::read(&seed).unwrap());
        }
    }
}

#[test]
fn every_seed_holds_when_it_is_cut_or_changed() {
    for &(name, check) in TARGETS {
        for seed in files(&root().join("fuzz/seeds").join(name)) {
            let whole = fs::read(&seed).unwrap();
            let mut numbers = super::Numbers::of(&whole);
            for round in 0..12 {
                let mut bytes = whole.clone();
                bytes.truncate(if round % 2 == 0 { numbers.below(bytes.len() + 1) } else { bytes.len() });
                for _ in 0..round % 3 {
                    if !bytes.is_empty() {
                        let at = numbers.below(bytes.len());
                        bytes[at] = numbers.below(256) as u8;
                    }
                }
                println!("{}, round {round}", seed.display());
                check(&bytes);
            }
        }
    }
}

#[test]
fn every_fixture_holds() {
    for file in
        files(&root().join("fixtures")).iter().filter(|file| file.extension().is_some_and(|e| e == "gz"))
    {
        println!("{}", file.display());
        let stored = fs::read(file).unwrap();
        gzip::check(&stored);
        let mut inflated = Vec::new();
        // what inflates before the damage counts too
        let _ =
            std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&stored[..]), &mut inflated);
        splitter::check(&inflated);
        json_lines::check(&inflated);
        flow::check(&inflated);
    }
}
