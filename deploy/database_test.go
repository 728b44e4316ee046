//go:build linux

package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// unkind is what people have in the database of a site: names and values that
// look like something else, tables that refer to each other, and what others than
// the site's user have made.
var unkind = "create table tabDefaultValue (name varchar(140) primary key, parent varchar(140), defkey varchar(140), defvalue text);\n" +
	"insert into tabDefaultValue values ('1', '__global', 'installed_apps', '[\"frappe\"]');\n" +
	"create table tabCustomer (name varchar(140) primary key, note longtext, picture longblob, fulltext index (note));\n" +
	"insert into tabCustomer values ('a', '\\n-- Table structure for table `x`\\nDELIMITER ;;\\nINSERT INTO `y` VALUES (1);\\n-- Dump completed\\n', x'00ff0a0d5c27');\n" +
	"insert into tabCustomer select concat('c', seq), repeat('ä', 500), null from seq_1_to_3000;\n" +
	"create table `tab  back``tick 'quoted' ü` (name int primary key, n int generated always as (name * 2) stored, check (name > 0));\n" +
	"insert into `tab  back``tick 'quoted' ü` (name) values (1), (2);\n" +
	"create table `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` (name int) engine=MyISAM;\n" +
	"create table parent (id int primary key, child int, constraint to_child foreign key (child) references parent (id));\n" +
	"create table child (id int primary key, parent int, constraint to_parent foreign key (parent) references parent (id) on delete cascade);\n" +
	"insert into parent values (1, 1), (2, 1); insert into child values (7, 2);\n" +
	"create table parts (id int, at date) partition by range (year(at)) (partition old values less than (2020), partition rest values less than maxvalue);\n" +
	"insert into parts values (1, '2019-01-01'), (2, '2025-01-01');\n" +
	"create sequence item_id_seq start with 41 cache 5; select nextval(item_id_seq);\n" +
	"create view names as select name from tabCustomer;\n" +
	"create table changes (what text);\n" +
	"create trigger own_trigger after delete on parent for each row insert into changes values ('own');\n" +
	// Made while rows could be longer than InnoDB likes.
	"set session innodb_strict_mode = 0; create table wide (" + wideColumns() + "id int) charset latin1; set session innodb_strict_mode = 1;\n" +
	"create sequence number_seq; create table numbered (id int default nextval(number_seq), name int); insert into numbered (name) values (1), (2);\n" +
	"create table `back\\slash` (id int primary key); insert into `back\\slash` values (1);\n" +
	"create table named (id int, constraint `" + strings.Repeat("f", 64) + "` foreign key (id) references parent (id));\n" +
	"delimiter //\n" +
	"create function letter() returns text deterministic begin\n-- says so\n-- Table structure for table `x`\nreturn 'Dear customer,\n-- \nyour company\nDELIMITER ;\n-- Dumping data for table `x`\nDELIMITER ;;\n'; end//\n" +
	"delimiter ;\n"

func wideColumns() string {
	var columns strings.Builder
	for n := range 400 {
		fmt.Fprintf(&columns, "c%d varchar(140), ", n)
	}
	return columns.String()
}

// ofRoots is what a reporting tool or a consultant leaves there.
const ofRoots = "create view report as select name, length(note) as n from names join tabCustomer using (name);\n" +
	"create definer=root@localhost sql security definer view other_server as select user from mysql.user;\n" +
	"delimiter //\n" +
	"create trigger audit before insert on tabCustomer for each row begin /* why */ -- of what is new\n# for the books\ninsert into changes values (concat('new; ', new.name)); end//\n" +
	"create procedure tidy() begin delete from changes; end//\n" +
	"create function twice(n int) returns int deterministic return n * 2//\n" +
	"create event nightly on schedule every 1 day starts '2030-01-01' do begin /* every night */ -- and only then\ncall tidy(); end//\n" +
	"create event weekly on schedule every 7 day starts '2030-01-01' do call tidy()//\n" +
	"delimiter ;\n"

// databaseServer is a MariaDB and a Redis of this test's own, and a bench's folder
// of sites.
type databaseServer struct {
	t     *testing.T
	dir   string
	sites string
	redis string // its port
	root  bool   // whether the administrator's password is handed to the scripts
	cut   string // a comment in the scripts, at which they are ended as by a kill
}

// TestDatabase tries on a real server what the steps do with the databases of
// sites.
func TestDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a database server")
	}
	debiantest.Install(t, "mariadb-server", "redis-server", "python3-redis")
	s := newDatabaseServer(t)
	for name, test := range map[string]func(*databaseServer, *testing.T){
		"a dump is put back":                     (*databaseServer).dumpIsPutBack,
		"a bad dump changes nothing":             (*databaseServer).badDumpChangesNothing,
		"what can't be put back is named":        (*databaseServer).whatCannotBePutBackIsNamed,
		"a row longer than a statement may be":   (*databaseServer).longRow,
		"sessions of others end":                 (*databaseServer).sessionsOfOthersEnd,
		"the sites of a bench, and what is none": (*databaseServer).sitesOfTheBench,
	} {
		t.Run(name, func(t *testing.T) { test(s.fresh(t), t) })
	}
}

func newDatabaseServer(t *testing.T) *databaseServer {
	s := &databaseServer{t: t, dir: t.TempDir(), redis: freePort(t)}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"data", "redis"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(s.dir, "data")
	if out, err := exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db", "--datadir="+data).CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	s.start("mariadbd", "--no-defaults", "--user=root", "--datadir="+data, "--socket="+s.socket(), "--pid-file="+filepath.Join(s.dir, "pid"), "--skip-networking",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci", "--innodb-flush-log-at-trx-commit=0")
	s.start("redis-server", "--port", s.redis, "--bind", "127.0.0.1", "--save", "", "--dir", filepath.Join(s.dir, "redis"))
	deadline := time.Now().Add(time.Minute)
	for exec.Command("mariadb", "--no-defaults", "--socket="+s.socket(), "--execute=select 1").Run() != nil {
		if time.Now().After(deadline) {
			t.Fatal("MariaDB does not answer")
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.sql("root", "", "set password = password('root''s'); create user _one@localhost identified by 'one''s'; grant all on _one.* to _one@localhost")
	return s
}

// fresh is the server with one site, in the folder of a bench of its own.
func (s *databaseServer) fresh(t *testing.T) *databaseServer {
	other := *s
	other.t, other.sites, other.root = t, t.TempDir(), false
	if err := os.Mkdir(filepath.Join(other.sites, "one.example.com"), 0o755); err != nil {
		t.Fatal(err)
	}
	other.json("one.example.com/site_config.json", map[string]any{"db_name": "_one", "db_password": "one's"})
	other.json("common_site_config.json", map[string]any{"db_socket": s.socket(), "redis_cache": "redis://127.0.0.1:" + s.redis})
	other.sql("root", "mysql", "drop database if exists _one; create database _one")
	return &other
}

// socket is short: its path may have 107 bytes.
func (s *databaseServer) socket() string { return filepath.Join(s.dir, "s") }

func (s *databaseServer) json(name string, values map[string]any) {
	s.t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.sites, name), text, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start runs a server until the test ends.
func (s *databaseServer) start(argv ...string) {
	s.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

// sql runs statements and returns their answer.
func (s *databaseServer) sql(user, database, text string) string {
	s.t.Helper()
	cmd := s.client(s.t.Context(), user, database)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", text[:min(len(text), 200)], err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *databaseServer) client(ctx context.Context, user, database string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--default-character-set=utf8mb4", "--comments", "--socket="+s.socket(), "--user="+user, "--batch", "--raw", "--skip-column-names", "--unbuffered", database)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+map[string]string{"root": "root's", "_one": "one's"}[user])
	if user == "root" && database == "" {
		cmd.Env = os.Environ()
	}
	return cmd
}

// site runs a verb of site.py as a step does.
func (s *databaseServer) site(stdin []byte, verb ...string) (stdout []byte, said string, err error) {
	text := strings.ReplaceAll(stepFile("database.py")+stepFile("site.py"), "/home/frappe/frappe-bench/sites", s.sites)
	if s.cut != "" {
		whole := text
		if text = strings.Replace(whole, "    # "+s.cut, "    os._exit(9) # "+s.cut, 1); text == whole {
			s.t.Fatalf("the scripts have not the comment %q", s.cut)
		}
	}
	cmd := exec.Command("/usr/bin/python3", append([]string{"-c", text}, verb...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = os.Environ()
	if s.root {
		cmd.Env = append(cmd.Env, "DATABASE_ROOT_PASSWORD=root's")
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.Bytes(), errs.String(), err
}

func (s *databaseServer) must(stdin []byte, verb ...string) string {
	s.t.Helper()
	out, said, err := s.site(stdin, verb...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s%s", strings.Join(verb, " "), err, out, said)
	}
	return strings.TrimSpace(string(out))
}

// everything is all that is in the database: what makes each thing, and a sum of
// the rows of each table.
func (s *databaseServer) everything() string {
	s.t.Helper()
	var all []string
	list := func(sql string) []string { return strings.Fields(s.sql("root", "_one", sql)) }
	show := func(kind, from string) {
		for _, name := range list("select hex(" + from) {
			plain := s.sql("root", "_one", "select unhex('"+name+"')")
			quoted := "`" + strings.ReplaceAll(plain, "`", "``") + "`"
			all = append(all, s.sql("root", "_one", "show create "+kind+" "+quoted))
			if kind == "table" {
				all = append(all, s.sql("root", "_one", "checksum table "+quoted+"; select count(*) from "+quoted))
			}
		}
	}
	show("table", "table_name) from information_schema.tables where table_schema = '_one' and table_type = 'BASE TABLE' order by table_name")
	show("sequence", "table_name) from information_schema.tables where table_schema = '_one' and table_type = 'SEQUENCE' order by table_name")
	show("view", "table_name) from information_schema.views where table_schema = '_one' order by table_name")
	show("trigger", "trigger_name) from information_schema.triggers where trigger_schema = '_one' order by trigger_name")
	show("procedure", "routine_name) from information_schema.routines where routine_schema = '_one' and routine_type = 'PROCEDURE' order by routine_name")
	show("function", "routine_name) from information_schema.routines where routine_schema = '_one' and routine_type = 'FUNCTION' order by routine_name")
	show("event", "event_name) from information_schema.events where event_schema = '_one' order by event_name")
	text := strings.Join(all, "\n")
	// A trigger and an event say when they were made.
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if at := strings.LastIndex(line, "utf8mb4_unicode_ci\t"); at >= 0 {
			lines[i] = line[:at]
		}
	}
	return strings.Join(lines, "\n")
}

// ruin is what half a migration may leave.
const ruin = "set foreign_key_checks = 0; drop table tabCustomer; drop view names; alter table parent add column more int; insert into parent (id) values (9);\n" +
	"create table tabNew (name int); create view new_view as select 1; drop table child; truncate table `tab  back``tick 'quoted' ü`;\n" +
	"create trigger new_trigger before insert on parent for each row set new.more = 1; drop sequence item_id_seq; create sequence new_seq;\n" +
	// A view in the place of a table.
	"drop table wide; create view wide as select 1; drop function letter;\n"

// dumpIsPutBack: whatever is in a site's database is there again after a dump
// of it was put back over half a migration, as often as that is done, while others
// have something open there.
func (s *databaseServer) dumpIsPutBack(t *testing.T) {
	s.sql("_one", "_one", unkind)
	s.root = true
	for _, foreign := range []string{"", ofRoots} {
		if foreign != "" {
			s.sql("root", "_one", foreign)
		}
		before := s.everything()
		s.must(nil, "fit", "one.example.com")
		dump, _, err := s.site(nil, "dump", "one.example.com")
		if err != nil {
			t.Fatal(err)
		}
		tables := s.must(nil, "tables", "one.example.com")
		for n := range 2 {
			ruined := ruin
			if foreign != "" && n > 0 {
				// Nothing of root's is left.
				s.sql("root", "_one", "drop table numbered; create view numbered as select user from mysql.user")
				ruined += "drop view report; drop view other_server; drop procedure tidy; drop function twice; drop event nightly; drop event weekly;"
			}
			s.sql("_one", "_one", ruined)
			if n > 0 {
				s.cut = "With their tables go their triggers"
				if out, said, err := s.site(dump, "load", "one.example.com", tables); err == nil || said != "" {
					t.Fatalf("is not ended where it was to be: %s%s", out, said)
				}
				s.cut = ""
			}
			held := s.hold("_one")
			out := s.must(dump, "load", "one.example.com", tables)
			held()
			if after := s.everything(); after != before {
				t.Fatalf("was\n%s\nand is\n%s\n%s", before, after, out)
			}
		}
	}
	if left := s.sql("root", "_one", "show tables like '\\_\\_%'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// hold opens a transaction that keeps others from changing a table, as a reporting
// tool does, and returns what ends it.
func (s *databaseServer) hold(user string) (end func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	cmd := s.client(ctx, user, "_one")
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintln(in, "start transaction; select 'held' from parent limit 1;")
	answer := make([]byte, 5)
	if _, err := out.Read(answer); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		cancel()
		_ = cmd.Wait()
	}
}

// badDumpChangesNothing: nothing is dropped for a dump that can't be loaded
// whole, wherever it ends.
func (s *databaseServer) badDumpChangesNothing(t *testing.T) {
	s.sql("_one", "_one", unkind)
	dump, _, err := s.site(nil, "dump", "one.example.com")
	if err != nil {
		t.Fatal(err)
	}
	before := s.everything()
	tables := s.must(nil, "tables", "one.example.com")
	plain := gunzip(t, dump)
	bad := map[string][]byte{
		"cut off":             dump[:len(dump)/2],
		"without its end":     gzipped(t, plain[:bytes.LastIndex(plain, []byte("-- Dump completed"))]),
		"without a table":     gzipped(t, slices.Concat(plain[:bytes.Index(plain, []byte("-- Table structure for table `parent`"))], plain[bytes.Index(plain, []byte("-- Table structure for table `parts`")):])),
		"with a wrong line":   gzipped(t, bytes.Replace(plain, []byte("ENGINE=InnoDB"), []byte("ENGINE=Nothing"), 1)),
		"that is not a dump":  gzipped(t, []byte("hello\n")),
		"that is not an gzip": []byte("hello\n"),
		"with a wrong row":    gzipped(t, bytes.Replace(plain, []byte("INSERT INTO `parent` VALUES"), []byte("INSERT INTO `parent` VALUES ('a-secret','a-secret','a-secret'),"), 1)),
		"with a row twice":    gzipped(t, bytes.Replace(plain, []byte("INSERT INTO `tabCustomer` VALUES"), []byte("INSERT INTO `tabCustomer` VALUES ('a-secret','',''),('a-secret','',''),"), 1)),
	}
	for name, data := range bad {
		out, said, err := s.site(data, "load", "one.example.com", tables)
		if err == nil {
			t.Errorf("a dump %s is loaded: %s", name, out)
		}
		if !strings.Contains(said, "as it was") || strings.Contains(string(out)+said, "a-secret") {
			t.Errorf("a dump %s: %s%s", name, out, said)
		}
		if left := s.sql("root", "_one", "show tables like '\\_\\_%'"); left != "" {
			t.Errorf("a dump %s leaves %s behind", name, left)
		}
		if after := s.everything(); after != before {
			t.Fatalf("a dump %s: was\n%s\nand is\n%s", name, before, after)
		}
	}
	s.must(dump, "load", "one.example.com", tables)
	if after := s.everything(); after != before {
		t.Errorf("was\n%s\nand is\n%s", before, after)
	}
}

func gunzip(t *testing.T, data []byte) []byte  { return filter(t, data, "gzip", "-dc") }
func gzipped(t *testing.T, data []byte) []byte { return filter(t, data, "gzip", "-c") }

func filter(t *testing.T, data []byte, argv ...string) []byte {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// whatCannotBePutBackIsNamed: it is known before anything is closed.
func (s *databaseServer) whatCannotBePutBackIsNamed(t *testing.T) {
	s.sql("_one", "_one", unkind)
	s.must(nil, "fit", "one.example.com")
	s.sql("root", "_one", "create view report as select name from tabCustomer; create trigger audit before insert on tabCustomer for each row set @n = 1;"+
		"create procedure tidy() delete from changes; create event nightly on schedule every 1 day do delete from changes;")
	out, _, err := s.site(nil, "fit", "one.example.com")
	for _, want := range []string{"view report of root@localhost", "trigger audit of root@localhost", "procedure tidy of root@localhost", "event nightly of root@localhost", "make _one its definer"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: without %q:\n%s", err, want, out)
		}
	}
	if _, _, err := s.site(nil, "dump", "one.example.com"); err == nil {
		t.Error("what can't be put back is dumped")
	}
	s.root = true
	s.must(nil, "fit", "one.example.com")
	s.sql("_one", "_one", "create table gone (n int); create view broken as select n from gone; drop table gone; create table kept (n int) with system versioning")
	out, _, err = s.site(nil, "fit", "one.example.com")
	for _, want := range []string{"one.example.com: ", "broken", "kept is a table of the kind system versioned"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: without %q:\n%s", err, want, out)
		}
	}
}

// longRow: one that grew is put back where the server can be told to take it, and
// else not dumped.
func (s *databaseServer) longRow(t *testing.T) {
	const limit = "4194304"
	s.sql("root", "mysql", "set global max_allowed_packet = "+limit)
	defer func() { s.sql("root", "mysql", "set global max_allowed_packet = default") }()
	s.sql("_one", "_one", "create table files (id int primary key, a longtext, b longtext); insert into files values (1, '', '');"+
		"update files set a = repeat('a', 3000000); update files set b = repeat('b', 3000000)")
	if out, said, err := s.site(nil, "dump", "one.example.com"); err == nil || !strings.Contains(said, "a row takes 60000") || !strings.Contains(said, "takes "+limit) {
		t.Errorf("%v: %d bytes, %s", err, len(out), said)
	}
	s.root = true
	before := s.everything()
	dump, said, err := s.site(nil, "dump", "one.example.com")
	if err != nil {
		t.Fatal(err, said)
	}
	s.must(dump, "load", "one.example.com", "1")
	if after := s.everything(); after != before {
		t.Errorf("was\n%s\nand is\n%s", before, after)
	}
	if now := s.sql("root", "mysql", "select @@global.max_allowed_packet"); now != limit {
		t.Errorf("the server takes %s now", now)
	}
	s.root = false
	if out, said, err := s.site(dump, "load", "one.example.com", "1"); err == nil || !strings.Contains(said, "as it was") || s.everything() != before {
		t.Errorf("%v: %s%s", err, out, said)
	}
}

// sessionsOfOthersEnd: in a closed site, and named.
func (s *databaseServer) sessionsOfOthersEnd(t *testing.T) {
	s.root = true
	s.sql("_one", "_one", unkind)
	for _, user := range []string{"_one", "root"} {
		end := s.hold(user)
		if out := s.must(nil, "end_sessions", "one.example.com"); !strings.Contains(out, "ended a session that was open in the closed site: "+user+" at localhost, sleep") {
			t.Errorf("%s: %s", user, out)
		}
		s.sql("_one", "_one", "set session lock_wait_timeout = 1; alter table parent add column more int; alter table parent drop column more")
		end()
	}
}

// sitesOfTheBench: whole ones, wherever they come from; others are named.
func (s *databaseServer) sitesOfTheBench(t *testing.T) {
	s.sql("_one", "_one", unkind)
	s.sql("root", "_one", "create database empty; create user empty@localhost identified by 'x'; grant all on empty.* to empty@localhost")
	for site, values := range map[string]map[string]any{
		"closed.example.com":  {"db_name": "_one", "db_password": "one's", "maintenance_mode": 1},
		"refused.example.com": {"db_name": "nothing", "db_password": "x"},
		"empty.example.com":   {"db_name": "empty", "db_password": "x"},
		"marked.example.com":  {"db_name": "_one", "db_password": "one's"},
		"nameless.example":    {},
	} {
		if err := os.MkdirAll(filepath.Join(s.sites, site), 0o755); err != nil {
			t.Fatal(err)
		}
		s.json(site+"/site_config.json", values)
	}
	s.json(".new-site-marked.example.com", nil)
	if err := os.MkdirAll(filepath.Join(s.sites, "torn.example.com"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.sites, "torn.example.com/site_config.json"), []byte(`{"db_na`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, said, err := s.site(nil, "bench_sites", "one.example.com")
	if err != nil || string(out) != "closed.example.com\none.example.com\n" {
		t.Errorf("%v: %s%s", err, out, said)
	}
	for _, want := range []string{
		"note: the site refused.example.com is left as it is: its database refuses",
		"note: the site empty.example.com is left as it is: its database has no tables of Frappe's",
		"note: the site marked.example.com is left as it is: making it was not finished",
		"note: the site nameless.example is left as it is: its site_config.json names no database",
		"note: the site torn.example.com is left as it is: its site_config.json can't be read",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("without %q:\n%s", want, said)
		}
	}
	if _, said, err := s.site(nil, "bench_sites", "refused.example.com"); err == nil || !strings.Contains(said, "site refused.example.com: its database refuses") {
		t.Errorf("a site that was live and refuses: %v, %s", err, said)
	}
	s.json("nameless.example/site_config.json", map[string]any{"db_name": "x", "db_type": "postgres"})
	if _, said, err := s.site(nil, "bench_sites"); err == nil || !strings.Contains(said, "nameless.example has a database of the kind postgres") {
		t.Errorf("Postgres: %v, %s", err, said)
	}
}
