//! A headless Chromium, driven over WebDriver as its standard says: JSON over HTTP.

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A browser with one window; it goes with this.
pub struct Browser {
    driver: Child,
    /// Open as long as it may say more.
    _said: Lines<BufReader<ChildStdout>>,
    port: u16,
    session: String,
    /// The browser's own.
    pub process: u64,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts it, or says why it cannot.
    pub fn start() -> Result<Browser, String> {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", home.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = command.spawn().map_err(|error| format!("chromedriver: {error}"))?;
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        // the first line has a port too, the one that was asked for
        let port = said.by_ref().map_while(Result::ok).find_map(|line| {
            let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut browser = Browser {
            driver,
            _said: said,
            port: port.unwrap_or(0),
            session: String::new(),
            process: 0,
            _home: home,
        };
        if browser.port == 0 {
            return Err("chromedriver tells no port".to_owned());
        }
        let data = format!("--user-data-dir={}", browser._home.path().join("data").display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &data,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let made = browser.send("POST", "/session", &wanted);
        let session = made["sessionId"].as_str().ok_or_else(|| format!("chromium: {made}"))?;
        browser.session = format!("/session/{session}");
        browser.process =
            made["capabilities"]["goog:processID"].as_u64().ok_or("chromium tells no process")?;
        Ok(browser)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_send(method, path, body).unwrap()
    }

    fn try_send(&self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // with a body, a session is not ended
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", self.port);
        let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &length + &body).as_bytes())?;
        let mut answer = Vec::new();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().to_lowercase().strip_prefix("content-length:") {
                Some(text) => length = text.trim().parse().map_err(io::Error::other)?,
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        reader.take(length).read_to_end(&mut answer)?;
        Ok(serde_json::from_slice::<Value>(&answer)?["value"].take())
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let value = self.send("POST", &format!("{}{path}", self.session), body);
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Gives the window this width, as a phone or a screen has it.
    pub fn width(&self, width: u32) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Prefers `light` or `dark`.
    pub fn prefers(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Whether pages may run scripts; what a test runs itself does so all the same.
    pub fn scripts(&self, allowed: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": !allowed}));
    }

    pub fn open(&self, url: impl Display) {
        self.command("/url", &json!({"url": url.to_string()}));
    }

    /// What an expression is on the page.
    pub fn value(&self, expression: &str) -> Value {
        self.command("/execute/sync", &json!({"script": format!("return {expression}"), "args": []}))
    }

    /// The text that a person sees.
    pub fn text(&self) -> String {
        self.value("document.body.innerText").as_str().unwrap().to_owned()
    }

    /// What the browser complained about since the last time.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.command("/se/log", &json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// A picture of the whole page, PNG in base64.
    pub fn picture(&self) -> String {
        let shot = self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        shot["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // the browser is a child of the driver, and outlives it unless it is told to end
            let ended = self.try_send("DELETE", &self.session, &Value::Null);
            if !matches!(ended, Ok(Value::Null)) || is_there(self.process) {
                let kill = format!("kill -KILL {}", self.process);
                let _ = Command::new("/bin/sh").args(["-c", &kill]).status(); // it may have ended
            }
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Whether a process runs.
pub fn is_there(process: u64) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
    state.is_ok_and(|text| !text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}
