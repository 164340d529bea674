package e2e

import (
	"encoding/base64"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// required are the settings without which a service does not start.
var required = map[string][]string{
	"auth-gateway":   {"KEYSET_FILE", "MONGODB_URI", "NATS_URL", "PUBLIC_URL"},
	"totp-svc":       {"KEYSET_FILE", "MONGODB_URI", "NATS_URL"},
	"sms-dispatcher": {"KEYSET_FILE", "MONGODB_URI", "NATS_URL"},
	"policy-svc":     {"KEYSET_FILE", "MONGODB_URI", "NATS_URL"},
}

// exits runs a command that must end by itself with this status, and returns what it said.
func exits(t *testing.T, status int, name string, env map[string]string, args ...string) string {
	t.Helper()
	p := sut.Run(t, name, env, args...)
	if got := p.Exit(30 * time.Second); got != status {
		t.Errorf("%s %s: status %d, want %d\n%s", name, strings.Join(args, " "), got, status, p.Output())
	}
	return p.Output()
}

// TestSettingsAreNamedAllAtOnce: whatever is missing or wrong, in one go, and status 2.
func TestSettingsAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	for name, settings := range required {
		said := exits(t, 2, name, nil)
		for _, s := range settings {
			if !strings.Contains(said, s+": must be set") {
				t.Errorf("%s without settings does not name %s:\n%s", name, s, said)
			}
		}
		said = exits(t, 2, name, map[string]string{
			"NATS_URL": "", "START_TIMEOUT": "soon", "NATS_REPLICAS": "two", "LOG_LEVEL": "LOUD", "KEYSET_FILE_FILE": "/nowhere", "MONGODB_URI": "x", "MONGODB_URI_FILE": "y",
		})
		for _, s := range []string{"NATS_URL", "START_TIMEOUT", "NATS_REPLICAS", "LOG_LEVEL", "KEYSET_FILE_FILE", "MONGODB_URI"} {
			if !strings.Contains(said, s) {
				t.Errorf("%s with wrong settings does not name %s:\n%s", name, s, said)
			}
		}
		help := exits(t, 0, name, nil, "--help")
		for _, s := range append(settings, "OPS_ADDR", "LOG_LEVEL", "START_TIMEOUT", "NATS_CREDS_FILE", "NATS_USER", "NATS_PASSWORD", "127.0.0.1:9090", "_FILE") {
			if !strings.Contains(help, s) {
				t.Errorf("%s --help does not mention %s:\n%s", name, s, help)
			}
		}
		exits(t, 2, name, nil, "--no-such-flag")
		exits(t, 2, name, nil, "serve")
	}
	for setting, bad := range map[string]string{"PUBLIC_URL": "http://portal.example.com", "TRUSTED_PROXIES": "everybody", "LISTEN_ADDR": "8080", "ARGON2_MEMORY_KIB": "1", "PASSWORD_LIMIT_ACCOUNT": "ten", "STOP_DELAY": "6s"} {
		if said := exits(t, 2, "auth-gateway", map[string]string{setting: bad}); !strings.Contains(said, setting+":") && !strings.Contains(said, setting+",") {
			t.Errorf("auth-gateway does not name %s=%s:\n%s", setting, bad, said)
		}
	}
	for setting, bad := range map[string]string{"SMS_COUNTRIES": "US,ATLANTIS", "SMS_MAX_PRICE_USD": "free", "SMS_WORKERS": "0", "SMS_SENDER_ID": "much too long a name", "SMS_DAILY_BUDGET": "-1", "SMS_SENDERS": "US=Northwind", "SMS_TEMPLATES": `{"GB":"Welcome to {portal}"}`} {
		if said := exits(t, 2, "sms-dispatcher", map[string]string{setting: bad}); !strings.Contains(said, setting+":") {
			t.Errorf("sms-dispatcher does not name %s=%s:\n%s", setting, bad, said)
		}
	}
}

// TestStartSaysWhatIsMissing: a dependency that does not answer, a port in use, a key that will not do.
func TestStartSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{})
	nobody := sut.FreeAddrs(t, 1)[0]
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // it is a port in use and nothing else
	// with is the environment of a second copy of a service, changed.
	with := func(name string, change map[string]string) map[string]string {
		env := s.Env(name)
		addrs := sut.FreeAddrs(t, 2)
		env["OPS_ADDR"], env["LISTEN_ADDR"], env["START_TIMEOUT"] = addrs[0], addrs[1], "1s"
		maps.Copy(env, change)
		return env
	}
	loose := filepath.Join(t.TempDir(), "loose.json")
	raw, err := os.ReadFile(s.Env("totp-svc")["KEYSET_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(loose, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range sut.Services {
		for what, c := range map[string]struct {
			change map[string]string
			status int
			says   string
		}{
			"a key that anybody can guess": {map[string]string{"KEYSET_FILE": guessable(t, s.Env(name)["KEYSET_FILE"])}, 2, "is not random"},
			"NATS does not answer":         {map[string]string{"NATS_URL": "nats://" + nobody}, 1, nobody},
			"the store does not answer":    {map[string]string{"MONGODB_URI": "mongodb://" + nobody}, 1, nobody},
			"no key file":                  {map[string]string{"KEYSET_FILE": "/nowhere/key.json"}, 2, "KEYSET_FILE"},
			"a key that all can read":      {map[string]string{"KEYSET_FILE": loose}, 2, "KEYSET_FILE"},
			"an empty key file":            {map[string]string{"KEYSET_FILE": empty}, 2, "KEYSET_FILE"},
			"its ops port is in use":       {map[string]string{"OPS_ADDR": taken.Addr().String()}, 1, taken.Addr().String()},
		} {
			begun := time.Now()
			if said := exits(t, c.status, name, with(name, c.change)); !strings.Contains(said, c.says) {
				t.Errorf("%s, %s: it does not name %s:\n%s", name, what, c.says, said)
			}
			if took := time.Since(begun); took > 15*time.Second {
				t.Errorf("%s, %s: it took %v to give up; START_TIMEOUT was 1s", name, what, took)
			}
		}
	}
	if said := exits(t, 1, "auth-gateway", with("auth-gateway", map[string]string{"LISTEN_ADDR": taken.Addr().String()})); !strings.Contains(said, taken.Addr().String()) {
		t.Errorf("auth-gateway does not name the port in use:\n%s", said)
	}
	// A value may be in a file.
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(s.Env("totp-svc")["NATS_URL"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := with("totp-svc", map[string]string{"NATS_URL_FILE": file, "START_TIMEOUT": "30s"})
	delete(env, "NATS_URL")
	second := sut.Run(t, "totp-svc", env)
	sut.Eventually(t, 30*time.Second, "totp-svc with its NATS_URL in a file is ready", func() bool { return sut.Ready("http://" + env["OPS_ADDR"]) })
	second.Terminate()
	// A new installation without portals says so, and lets nobody in.
	sut.Expect(t, s.Do("POST", "/v1/sign-ins", "", sut.Credentials(agent)), 404, "not_found")
}

// guessable is a copy of a key file whose keys are all zeros.
func guessable(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), filepath.Base(file))
	zeros := base64.StdEncoding.EncodeToString(append([]byte{0x1a, 32}, make([]byte, 32)...)) // as the field of an AesGcmKey
	raw = regexp.MustCompile(`("value": *")[^"]+`).ReplaceAll(raw, []byte("${1}"+zeros))
	if err := os.WriteFile(out, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestUpRefusesWhatIsNotSafe: the demo's passwords are known to all, and the embedded parts ask for none.
func TestUpRefusesWhatIsNotSafe(t *testing.T) {
	t.Parallel()
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	for what, args := range map[string][]string{
		"demo for everybody":           {"up", "--demo", "--listen", "0.0.0.0:8080"},
		"demo for everybody, IPv6":     {"up", "--demo", "--listen", "[::]:8080"},
		"demo, no address":             {"up", "--demo", "--listen", ":8080"},
		"demo, somebody else's name":   {"up", "--demo", "--listen", "example.com:8080"},
		"demo, ops for everybody":      {"up", "--demo", "--ops", "0.0.0.0:9090"},
		"NATS for everybody":           {"up", "--nats", "0.0.0.0:4222"},
		"the store for everybody":      {"up", "--store", "0.0.0.0:27017"},
		"text messages for everybody":  {"up", "--sandbox", "0.0.0.0:8025"},
		"parts alone, for everybody":   {"infra", "--nats", "0.0.0.0:4222"},
		"no port":                      {"up", "--listen", "127.0.0.1"},
		"a flag there is none of":      {"up", "--insecure"},
		"a command that there is none": {"down"},
	} {
		said := exits(t, 2, "sallyport", nil, append(slices.Clone(args), data)...)
		if len(args) > 2 && !strings.Contains(said, args[len(args)-2]) {
			t.Errorf("%s: the flag is not named:\n%s", what, said)
		}
	}
	if said := exits(t, 2, "sallyport", nil, "up", "--demo", "--listen", "0.0.0.0:1", "--nats", "0.0.0.0:2", "--store", "nonsense", data); !strings.Contains(said, "--listen") || !strings.Contains(said, "--nats") || !strings.Contains(said, "--store") {
		t.Errorf("not all is named at once:\n%s", said)
	}
	for _, command := range [][]string{{"--help"}, {"up", "--help"}, {"infra", "--help"}} {
		if said := exits(t, 0, "sallyport", nil, command...); !strings.Contains(said, "Usage: sallyport") {
			t.Errorf("%v: %s", command, said)
		}
	}
	// A port in use is named, whoever's it is.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // it is a port in use and nothing else
	for _, flag := range []string{"--listen", "--ops", "--sandbox", "--nats", "--store"} {
		args := []string{"up", "--demo", "--data=" + filepath.Join(t.TempDir(), "data")}
		free := sut.FreeAddrs(t, 5)
		for n, f := range []string{"--listen", "--ops", "--sandbox", "--nats", "--store"} {
			addr := free[n]
			if f == flag {
				addr = taken.Addr().String()
			}
			args = append(args, f+"="+addr)
		}
		if said := exits(t, 1, "sallyport", nil, args...); !strings.Contains(said, taken.Addr().String()) {
			t.Errorf("%s in use: the port is not named:\n%s", flag, said)
		}
	}
}

// TestDataIsOneInstallations: a second process on the same directory is refused, a directory that cannot be used is
// named, and keys that are lost are not made anew behind a store that needs them.
func TestDataIsOneInstallations(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	again := func(status int, data string) string {
		t.Helper()
		free := sut.FreeAddrs(t, 5)
		return exits(t, status, "sallyport", nil, "up", "--demo", "--data="+data, "--listen="+free[0], "--ops="+free[1], "--sandbox="+free[2], "--nats="+free[3], "--store="+free[4])
	}
	if said := again(1, p.Data); !strings.Contains(said, "use") && !strings.Contains(said, "lock") {
		t.Errorf("a second process on the same data does not say why it ends:\n%s", said)
	}
	key, _ := p.EnrolTOTP(agent) // the first is not disturbed
	p.SignInTOTP(agent, key)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if said := again(1, file); !strings.Contains(said, file) {
		t.Errorf("a file as data directory is not named:\n%s", said)
	}
	p.Stop()
	loose := filepath.Join(p.Data, "keys", "totp-svc.json")
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	if said := again(2, p.Data); !strings.Contains(said, "totp-svc.json") {
		t.Errorf("a key that all can read is not named:\n%s", said)
	}
	if err := os.Chmod(loose, 0o600); err != nil {
		t.Fatal(err)
	}
	p.Resume()
	p.SignInTOTP(agent, key)
}

// An installation without the demo starts with no settings at all: it has no portal yet, and texts no country.
func TestUpWithoutTheDemo(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{})
	credentials := map[string]string{"email": "agent@demo.test", "password": "open-sesame-demo"}
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", credentials), 404, "not_found")
}
