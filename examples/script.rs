//! JavaScript from the server: a stream launches fireworks in the page, and the visitor's wish comes
//! back as a script. Each script runs once and removes itself.
//!
//! `cargo run --example script`, then open <http://127.0.0.1:8080>.

mod datastar_js;

use std::{error::Error, time::Duration};

use starwheel::{
    Ending, Response, Router, Sse, StatusCode,
    datastar::{ExecuteScript, Signals},
};

fn main() -> Result<(), Box<dyn Error>> {
    let router = Router::new()
        .get("/show", |_req, _cx| {
            let mut rockets = 0_u32;
            Sse::every(Duration::from_millis(1500), move |stream| {
                rockets += 1;
                let (place, hue) = (rockets * 37 % 80 + 10, rockets * 47 % 360);
                stream.send(ExecuteScript::new(format!("launch({place}, {hue})")));
            })
        })
        .post("/wish", |req, _cx| {
            let signals = Signals::read(req)?;
            let Some(wish) = signals.str("wish").filter(|wish| wish.chars().count() <= 80) else {
                return Err(Response::error(
                    StatusCode::BAD_REQUEST,
                    "a wish has at most 80 characters",
                ));
            };
            // As JSON, the visitor's input is a string in JavaScript. Never insert it unescaped.
            let wish = serde_json::Value::from(wish);
            let script = ExecuteScript::new(format!("show({wish})\nlaunch(50, 45)"));
            Ok(Sse::new().send(script).ending(Ending::Finish))
        });
    datastar_js::run(datastar_js::serve_page(router, include_str!("script.html"))?)
}
