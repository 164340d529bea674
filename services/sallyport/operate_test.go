package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
)

// freeAddr is a loopback address that nobody listens on just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// runStore runs an embedded store on a data directory until the test ends.
func runStore(t *testing.T, data string) *embedded.Store {
	t.Helper()
	s, err := embedded.StartStore(embedded.StoreOptions{Dir: filepath.Join(data, "store"), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func addrOf(s *embedded.Store) string {
	addr, _, _ := strings.Cut(strings.TrimPrefix(s.URI(), "mongodb://"), "/")
	return addr
}

// open opens a site as a command does, and closes it with the test.
func open(t *testing.T, s site, vars map[string]string, fresh bool) (*vault, error) {
	t.Helper()
	v, err := s.open(t.Context(), vars, fresh)
	if err == nil {
		t.Cleanup(func() { _ = v.close() })
	}
	return v, err
}

// A command joins the store that runs, and runs it itself where it does not: then nobody else may.
func TestSiteFindsTheDocuments(t *testing.T) {
	data := t.TempDir()
	running := runStore(t, data)
	joined, err := open(t, site{Data: data, Store: addrOf(running)}, map[string]string{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if joined.store != nil {
		t.Error("it runs a store of its own beside the one that runs")
	}
	if _, err := joined.db(t.Context(), contract.Policy); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(joined.close(), running.Close(t.Context())); err != nil {
		t.Fatal(err)
	}

	alone, err := open(t, site{Data: data, Store: addrOf(running)}, map[string]string{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if alone.store == nil || addrOf(alone.store) != addrOf(running) {
		t.Error("it does not hold the address that sallyport up would listen on")
	}
	if _, err := embedded.StartStore(embedded.StoreOptions{Dir: filepath.Join(data, "store"), Addr: addrOf(running)}); err == nil {
		t.Error("somebody else may use the documents meanwhile")
	}
	if err := errors.Join(alone.close(), alone.close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	runStore(t, data) // everything was given back
}

// What a typo would do is refused by name, and makes nothing.
func TestSiteRefusesWhatIsNotThere(t *testing.T) {
	empty, nowhere := t.TempDir(), filepath.Join(t.TempDir(), "typo")
	running := t.TempDir()
	runStore(t, running)
	other := runStore(t, t.TempDir())
	for what, c := range map[string]struct {
		site site
		vars map[string]string
		says []string
	}{
		"no such directory":     {site{Data: nowhere, Store: freeAddr(t)}, map[string]string{}, []string{nowhere, "MONGODB_URI"}},
		"an empty directory":    {site{Data: empty, Store: freeAddr(t)}, map[string]string{}, []string{empty, "MONGODB_URI"}},
		"another installation":  {site{Data: empty, Store: addrOf(other)}, map[string]string{}, []string{"--store " + addrOf(other), empty}},
		"at another address":    {site{Data: running, Store: freeAddr(t)}, map[string]string{}, []string{"sallyport runs on this data; name the --store", running}},
		"the URI, given twice":  {site{Data: empty, Store: freeAddr(t)}, map[string]string{"MONGODB_URI": "x", "MONGODB_URI_FILE": "y"}, []string{"MONGODB_URI"}},
		"a URI that is none":    {site{Data: empty, Store: freeAddr(t)}, map[string]string{"MONGODB_URI": "garbage"}, []string{"MONGODB_URI: must be"}},
		"a level there is none": {site{Data: empty, Store: freeAddr(t)}, map[string]string{"LOG_LEVEL": "LOUD"}, []string{"LOG_LEVEL"}},
	} {
		_, err := open(t, c.site, c.vars, false)
		var settings *config.Error
		if !errors.As(err, &settings) {
			t.Errorf("%s: %v; want status 2", what, err)
			continue
		}
		for _, said := range c.says {
			if !strings.Contains(err.Error(), said) {
				t.Errorf("%s: %v does not name %s", what, err, said)
			}
		}
	}
	for _, dir := range []string{nowhere, filepath.Join(empty, "store"), filepath.Join(empty, "keys")} {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s was made", dir)
		}
	}
}

// A command joins the NATS that runs, and runs it itself where it does not: then nobody else may.
func TestPostOfficeFindsTheMessages(t *testing.T) {
	data := t.TempDir()
	addr := freeAddr(t)
	start := func() (*embedded.NATS, error) {
		return embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(data, "nats"), Addr: addr})
	}
	running, err := start()
	if err != nil {
		t.Fatal(err)
	}
	b, leave, err := postOffice{Data: data, NATS: addr}.open(t.Context(), map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	// No service was ever here, and the command makes no streams for them.
	if _, err := b.DeadLetters(t.Context(), 1); contract.CodeOf(err) != contract.Conflict {
		t.Errorf("%v", err)
	}
	if err := errors.Join(leave(), running.Close(t.Context())); err != nil {
		t.Fatal(err)
	}

	_, leave, err = postOffice{Data: data, NATS: addr}.open(t.Context(), map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	if other, err := start(); err == nil {
		_ = other.Close(t.Context())
		t.Error("sallyport up would start meanwhile")
	}
	if err := leave(); err != nil {
		t.Fatal(err)
	}
	again, err := start() // everything was given back
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close(context.Background()) })

	empty, nowhere := t.TempDir(), filepath.Join(t.TempDir(), "typo")
	for what, c := range map[string]struct {
		office postOffice
		vars   map[string]string
		says   string
	}{
		"no such directory":    {postOffice{Data: nowhere, NATS: freeAddr(t)}, nil, nowhere},
		"no streams":           {postOffice{Data: empty, NATS: freeAddr(t)}, nil, "NATS_URL"},
		"another installation": {postOffice{Data: empty, NATS: addr}, nil, "--nats " + addr},
		"at another address":   {postOffice{Data: data, NATS: freeAddr(t)}, nil, "sallyport runs on this data; name the --nats"},
		"no address":           {postOffice{Data: data, NATS: "4222"}, nil, "--nats"},
		"a URL that is none":   {postOffice{Data: data, NATS: addr}, map[string]string{"NATS_URL": "garbage", "NATS_CREDS_FILE": "/nowhere"}, "NATS_CREDS_FILE: open /nowhere: no such file or directory\n  NATS_URL: must be"},
		"the URL, given twice": {postOffice{Data: data, NATS: addr}, map[string]string{"NATS_URL": "x", "NATS_URL_FILE": "y"}, "NATS_URL"},
	} {
		_, _, err := c.office.open(t.Context(), c.vars)
		var settings *config.Error
		if !errors.As(err, &settings) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want status 2 and %s", what, err, c.says)
		}
	}
	for _, dir := range []string{nowhere, filepath.Join(empty, "nats")} {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s was made", dir)
		}
	}
}

// A portal or a country that there is not is no country that is not stopped.
func TestTextsOfNobody(t *testing.T) {
	data := t.TempDir()
	s := site{Data: data, Store: addrOf(runStore(t, data))}
	v, err := open(t, s, map[string]string{}, false)
	if err != nil {
		t.Fatal(err)
	}
	var settings *config.Error
	if err := v.portal(t.Context(), "nosuch"); !errors.As(err, &settings) || !strings.HasPrefix(err.Error(), `--portal: there is no portal "nosuch"`) {
		t.Errorf("%v", err)
	}
	resume := &textsResumeCommand{site: s, Portal: "nosuch", Country: "zz", Reason: "carrier mended"}
	if err := resume.Run(); !errors.As(err, &settings) || !strings.Contains(err.Error(), "--country") {
		t.Errorf("%v", err)
	}
	for region, known := range map[string]bool{"GB": true, "US": true, "ZZ": false, "": false, "gb": false} {
		if isCountry(region) != known {
			t.Errorf("%q: %t", region, !known)
		}
	}
}

// A fresh directory gets its keys; one that lost them does not get new ones.
func TestSiteMakesKeysOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new")
	s := site{Data: data, Store: freeAddr(t)}
	v, err := open(t, s, map[string]string{}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range services() {
		if _, err := v.keys(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := v.db(t.Context(), contract.Policy); err != nil {
		t.Fatal(err)
	}
	if err := v.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(v.keyFile(contract.TOTP)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, s, map[string]string{}, true); err == nil || !strings.Contains(err.Error(), "totp-svc.json is missing") {
		t.Errorf("a lost key: %v", err)
	}
}

// KEYSET_FILE counts for the service that it names; the others' are in the directory.
func TestKeyFileOfOneService(t *testing.T) {
	data := t.TempDir()
	elsewhere, err := seal.Generate(filepath.Join(t.TempDir(), "mounted"), services(), false)
	if err != nil {
		t.Fatal(err)
	}
	v, err := site{Data: data}.lookAt(map[string]string{"KEYSET_FILE": elsewhere[contract.Policy]})
	if err != nil {
		t.Fatal(err)
	}
	if got := v.keyFile(contract.Policy); got != elsewhere[contract.Policy] {
		t.Errorf("policy-svc: %s", got)
	}
	if got, want := v.keyFile(contract.TOTP), filepath.Join(data, "keys", "totp-svc.json"); got != want {
		t.Errorf("totp-svc: %s, want %s", got, want)
	}
	if _, err := v.keys(contract.TOTP); err == nil || !strings.Contains(err.Error(), "totp-svc.json") {
		t.Errorf("a key file that is not there: %v", err)
	}
}

func TestActor(t *testing.T) {
	if got := actor(); !strings.HasPrefix(got, "operator:") || len(got) < len("operator:x") || len(got) > 128 {
		t.Errorf("%q", got)
	}
	t.Setenv("SUDO_USER", strings.Repeat("a", 300))
	if got := actor(); len(got) > 128 {
		t.Errorf("%q is longer than an actor may be", got)
	}
}

// What is wrong with a dependency is found without changing it.
func TestDoctorLeavesNothingBehind(t *testing.T) {
	data := t.TempDir()
	nats, err := embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(data, "nats"), Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nats.Close(context.Background()) })
	if _, err := seal.Generate(filepath.Join(data, "keys"), services(), false); err != nil {
		t.Fatal(err)
	}
	c := doctorCommand{
		site: site{Data: data, Store: addrOf(runStore(t, data))}, Listen: freeAddr(t), Ops: []string{freeAddr(t)},
		NATS: strings.TrimPrefix(nats.URL(), "nats://"), Sandbox: freeAddr(t),
	}
	for range 2 {
		missing := 0
		for _, f := range c.examine(t.Context(), map[string]string{}) {
			if f.Check == "NATS" && strings.HasSuffix(f.Says, ": not there yet.") {
				missing += strings.Count(f.Says, "SALLYPORT_")
			}
			if f.Check == "documents" && f.Status == statusFail {
				t.Errorf("%+v", f)
			}
		}
		if missing != 6 {
			t.Errorf("%d of 6 streams and buckets are missing; nobody has made one", missing)
		}
	}
}
