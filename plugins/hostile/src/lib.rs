wit_bindgen::generate!({ world: "mapper-with-invariants", path: "../../wit" });
