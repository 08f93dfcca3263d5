//! Private MariaDB and MySQL servers.
//!
//! Owns starting, stopping, pausing and asking a server with a port and a data directory of its own.
//! MariaDB must be installed (`setup/mariadb.sh`); MySQL is used where `setup/mysql.sh` could fetch it.
//! Refuses to talk to any other: it asks the server which directory it serves. Invariant: a server
//! is killed when its handle is dropped, and when the process dies.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use driftd::model::Secret;
use driftd::store::{self, MysqlSettings, Tls};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, geteuid, kill_process, waitid};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// The user that stores log in as; it may read everything.
pub const USER: &str = "driftd";
/// That user's password.
pub const PASSWORD: &str = "a password, nothing else";
/// Which line of a server's log says that it answers.
const READY: &str = "ready for connections";

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// The system's MariaDB.
    Mariadb,
    /// MySQL, unpacked in this folder.
    Mysql(PathBuf),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    /// Which server it is.
    pub flavour: Flavour,
    directory: TempDir,
    arguments: Vec<String>,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    pid: Pid,
    /// Reads the server's log and waits for its end.
    keeper: JoinHandle<()>,
}

impl Server {
    /// Starts a server with an empty database `test`, and the user [`USER`].
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a MariaDB, and a MySQL where there is one.
    pub async fn start_each() -> Vec<Self> {
        let mut servers = vec![Self::start().await];
        if let Some(root) = mysql() {
            servers.push(Self::start_as(Flavour::Mysql(root), &[]).await);
        }
        servers
    }

    /// Starts one with more arguments; `{dir}` in them is its data directory.
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(Flavour::Mariadb, arguments).await
    }

    /// Starts one of this flavour.
    pub async fn start_as(flavour: Flavour, arguments: &[&str]) -> Self {
        let template = template(&flavour);
        let directory = tempfile::Builder::new().prefix("driftd-db-").tempdir().unwrap();
        copy(&template, directory.path());
        let path = directory.path().to_str().unwrap().to_owned();
        let arguments: Vec<_> =
            arguments.iter().map(|argument| argument.replace("{dir}", &path)).collect();
        // Another process may take the port between our asking and the server's binding.
        let mut tries = 0;
        let (port, process) = loop {
            let port = free_port();
            match Process::start(&flavour, directory.path(), port, &arguments).await {
                Ok(process) => break (port, process),
                Err(log) => assert!(tries < 5, "{flavour:?} does not start:\n{log}"),
            }
            tries += 1;
        };
        let server = Self { port, flavour, directory, arguments, process: Some(process) };
        server.assert_own().await;
        server
    }

    async fn assert_own(&self) {
        let mut conn = self.conn().await;
        let directory: Option<String> = conn.query_first("SELECT @@datadir").await.unwrap();
        let directory = PathBuf::from(directory.unwrap());
        assert_eq!(
            fs::canonicalize(directory).unwrap(),
            fs::canonicalize(self.directory.path()).unwrap(),
            "another server answers on port {}",
            self.port
        );
        conn.disconnect().await.unwrap();
    }

    /// A connection as the administrator, in database `test`.
    pub async fn conn(&self) -> Conn {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("root"))
            .db_name(Some("test"))
            .prefer_socket(false);
        Conn::new(opts).await.unwrap()
    }

    /// Runs statements as the administrator.
    pub async fn exec(&self, sql: &str) {
        let mut conn = self.conn().await;
        if let Err(error) = conn.query_drop(sql).await {
            panic!("{error}\n{sql}");
        }
        conn.disconnect().await.unwrap();
    }

    /// The settings of a store on this server, in clear, as [`USER`].
    pub fn settings(&self, name: &str) -> store::Settings {
        store::Settings {
            name: name.to_owned(),
            kind: store::Kind::Mysql(self.mysql()),
            limits: store::Limits::default(),
            timeouts: store::Timeouts::default(),
        }
    }

    /// What of those belongs to the server.
    pub fn mysql(&self) -> MysqlSettings {
        MysqlSettings {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: USER.to_owned(),
            password: Some(Secret::new("the test".to_owned(), || Ok(PASSWORD.to_owned()))),
            database: "test".to_owned(),
            tls: Tls::Disabled,
        }
    }

    /// Its data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process, to be measured.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Stops the process where it is: connections stand, nothing answers. Returns once its last
    /// thread stands still.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let pid = self.process.as_ref().unwrap().pid;
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the process; what was committed stays.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            kill_process(process.pid, Signal::KILL).unwrap();
            process.keeper.join().unwrap();
        }
    }

    /// Starts a killed server again, on the same port and directory.
    pub async fn restart(&mut self) {
        self.kill();
        let directory = self.directory.path();
        let started = Process::start(&self.flavour, directory, self.port, &self.arguments).await;
        self.process = Some(started.unwrap_or_else(|log| panic!("does not start again:\n{log}")));
        self.assert_own().await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.process.as_ref().unwrap().pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    /// Starts the server and waits until it says that it answers; an error holds its log.
    async fn start(
        flavour: &Flavour,
        directory: &Path,
        port: u16,
        arguments: &[String],
    ) -> Result<Self, String> {
        let mut command = command(flavour, directory);
        command
            .arg(format!("--socket={}", directory.join("s.sock").display()))
            .arg(format!("--pid-file={}", directory.join("pid").display()))
            .arg(format!("--port={port}"))
            .args([
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_bin",
                "--innodb-buffer-pool-size=64M",
                // What is committed survives the death of the process, not of the machine.
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-use-native-aio=0",
                "--max-connections=100",
            ])
            .args(match flavour {
                Flavour::Mariadb => &[][..],
                Flavour::Mysql(_) => &["--mysqlx=OFF", "--skip-log-bin"],
            })
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let log = File::create(directory.join("err.log")).unwrap();
        let (ready, answer) = oneshot::channel();
        // The kernel kills the server when the thread that started it ends, so that thread stays.
        let keeper = std::thread::spawn(move || keep(command, log, ready));
        match answer.await {
            Ok(pid) => Ok(Self { pid, keeper }),
            Err(_ended) => {
                keeper.join().unwrap();
                Err(fs::read_to_string(directory.join("err.log")).unwrap())
            }
        }
    }
}

/// Runs the server to its end. Tells `ready` once it answers.
fn keep(mut command: Command, mut log: File, ready: oneshot::Sender<Pid>) {
    let mut child: Child = command.spawn().expect("setpriv is installed: tests/setup/mariadb.sh");
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut ready = Some(ready);
    let mut line = Vec::new();
    while lines.by_ref().read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        log.write_all(&line).unwrap();
        if String::from_utf8_lossy(&line).contains(READY)
            && let Some(ready) = ready.take()
        {
            // Nobody waits any more when the test has failed meanwhile.
            ready.send(Pid::from_child(&child)).ok();
        }
        line.clear();
    }
    child.wait().unwrap();
}

/// The server on `directory`, which the kernel kills with the thread that starts it.
fn command(flavour: &Flavour, directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    match flavour {
        Flavour::Mariadb => {
            command.arg(find("mariadbd")).arg("--no-defaults");
        }
        Flavour::Mysql(root) => {
            // Unpacked beside the system, it comes with libraries of its own.
            let libraries = root.join("usr/lib/x86_64-linux-gnu");
            let path = format!("{}:{}", libraries.display(), libraries.join("mysql").display());
            command.arg(libraries.join("ld-linux-x86-64.so.2")).arg("--library-path").arg(path);
            command
                .arg(root.join("usr/sbin/mysqld"))
                .args(["--no-defaults", "--secure-file-priv="]);
            let within =
                |option: &str, path: &str| format!("{option}={}", root.join(path).display());
            command.arg(within("--basedir", "usr"));
            command.arg(within("--lc-messages-dir", "usr/share/mysql"));
            command.arg(within("--character-sets-dir", "usr/share/mysql/charsets"));
            command.arg(within("--plugin-dir", "usr/lib/mysql/plugin"));
        }
    }
    if geteuid().is_root() {
        command.arg("--user=root");
    }
    command.arg(format!("--datadir={}", directory.display()));
    command
}

/// Where MySQL was unpacked, if it was.
fn mysql() -> Option<PathBuf> {
    let root = std::env::home_dir()?.join(".cache/driftd/mysql");
    root.join("ready").exists().then_some(root)
}

/// Where a program is: a user's search path may lack the directory of servers.
fn find(program: &str) -> PathBuf {
    let servers = Path::new("/usr/sbin").join(program);
    if servers.exists() { servers } else { program.into() }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The data directory that every server of a flavour begins with; made once on this machine.
fn template(flavour: &Flavour) -> PathBuf {
    let base = std::env::temp_dir().join(format!("driftd-tests-{}", geteuid().as_raw()));
    fs::create_dir_all(&base).unwrap();
    let lock = File::create(base.join("template.lock")).unwrap();
    lock.lock().unwrap();
    let version = command(flavour, &base).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(!version.is_empty(), "install MariaDB with tests/setup/mariadb.sh");
    let version = version.split_once("Ver ").map_or(version.as_str(), |(_, version)| version);
    let name: String = version.chars().filter(char::is_ascii_alphanumeric).collect();
    let template = base.join(format!("v3-{name}"));
    if !template.exists() {
        let fresh = tempfile::Builder::new().prefix("new-").tempdir_in(&base).unwrap().keep();
        let data = fresh.join("data");
        initialise(flavour, &fresh, &data);
        fs::rename(&data, &template).unwrap();
        fs::remove_dir_all(&fresh).unwrap();
    }
    template
}

/// What every server begins with: the users, and digits to count with.
fn statements() -> String {
    format!(
        "CREATE DATABASE test CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n\
         CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '';\n\
         GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n\
         CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT SELECT ON *.* TO {USER}@'127.0.0.1';\n\
         CREATE DATABASE counting;\n\
         CREATE TABLE counting.digits (d INT PRIMARY KEY);\n\
         INSERT INTO counting.digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);\n"
    )
}

fn initialise(flavour: &Flavour, scratch: &Path, data: &Path) {
    let done = match flavour {
        Flavour::Mariadb => {
            let mut install = Command::new("mariadb-install-db");
            install.arg("--no-defaults");
            if geteuid().is_root() {
                install.arg("--user=root");
            }
            install.arg(format!("--datadir={}", data.display())).args([
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                "--innodb-log-file-size=8M",
            ]);
            let installed = install.output().unwrap();
            assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
            let mut bootstrap = command(flavour, data)
                .args(["--bootstrap", "--innodb-use-native-aio=0", "--skip-grant-tables=0"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            bootstrap.stdin.take().unwrap().write_all(statements().as_bytes()).unwrap();
            bootstrap.wait_with_output().unwrap()
        }
        Flavour::Mysql(_) => {
            let file = scratch.join("init.sql");
            fs::write(&file, statements()).unwrap();
            command(flavour, data)
                .args(["--initialize-insecure", "--innodb-use-native-aio=0"])
                .arg(format!("--init-file={}", file.display()))
                .output()
                .unwrap()
        }
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A derived table of the numbers `seq` from 1 to `most`.
pub fn count(most: u32) -> String {
    let places = 0..most.to_string().len();
    let parts: Vec<_> =
        places.clone().map(|place| format!("d{place}.d * 1{}", "0".repeat(place))).collect();
    let tables: Vec<_> = places.map(|place| format!("counting.digits d{place}")).collect();
    let (sum, tables) = (parts.join(" + "), tables.join(", "));
    format!("(SELECT {sum} AS seq FROM {tables} HAVING seq BETWEEN 1 AND {most}) counted")
}

fn copy(from: &Path, to: &Path) {
    let mut source = from.as_os_str().to_owned();
    source.push("/.");
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(source).arg(to).status();
    assert!(copied.unwrap().success(), "cannot copy {}", from.display());
}
