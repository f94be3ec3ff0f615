//! `lexicon/`: schemas to load or to refuse, and records to judge by the schemas of `catalog/`.

use std::path::Path;

use atproto::{
    data::json,
    lexicon::{Catalog, Verdict},
    syntax::RecordKey,
};
use serde_json::Value;

use super::report::{self, Outcome, cases, ensure, files, name, text};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let catalog_files = files(&dir.join("catalog"));
    let catalog = Catalog::from_documents(catalog_files.iter().map(|file| report::json(file)));
    for file in files(dir) {
        match name(&file) {
            _ if catalog_files.contains(&file) => {
                outcome.check(&file, "whole file", load(report::json(&file)))
            }
            "lexicon-valid.json" => each(&mut outcome, &file, |case| load(case["lexicon"].clone())),
            "lexicon-invalid.json" => {
                each(&mut outcome, &file, |case| ensure(load(case["lexicon"].clone()).is_err(), "loaded"))
            }
            "record-data-valid.json" => {
                each(&mut outcome, &file, |case| judge(catalog.as_ref().map_err(|e| e.to_string())?, case))
            }
            "record-data-invalid.json" => each(&mut outcome, &file, |case| {
                let catalog = catalog.as_ref().map_err(|e| e.to_string())?;
                ensure(judge(catalog, case).is_err(), "accepted")
            }),
            n => outcome.skip(format!("unknown file {n}")),
        }
    }
    outcome
}

fn each(outcome: &mut Outcome, file: &Path, check: impl Fn(&Value) -> Result<(), String>) {
    for (idx, case) in cases(file).iter().enumerate() {
        let vector = format!("{idx} {}", case["name"].as_str().unwrap_or_default());
        outcome.check(file, vector, check(case));
    }
}

fn load(document: Value) -> Result<(), String> {
    Catalog::from_documents([document]).map(drop).map_err(|e| e.to_string())
}

fn judge(catalog: &Catalog, case: &Value) -> Result<(), String> {
    let record = json::from_json(&case["data"]).map_err(|e| e.to_string())?;
    let rkey = RecordKey::parse(text(case, "rkey")?).map_err(|e| e.to_string())?;
    let collection = text(&case["data"], "$type")?;
    match catalog.validate_record(collection, &rkey, &record) {
        Ok(Verdict::Valid) => Ok(()),
        Ok(Verdict::Unknown) => panic!("{collection} is not among the schemas of catalog/"),
        Err(error) => Err(error.to_string()),
    }
}
