package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/secret"
)

type Shared struct {
	URL   string `env:"NATS_URL,required" help:"where the bus is"`
	Creds string `env:"NATS_CREDS_FILE" help:"credentials"`
}

type exported struct {
	Shared
	Workers  int           `env:"WORKERS" envDefault:"4" help:"how many at once"`
	Wait     time.Duration `env:"WAIT" envDefault:"2s" help:"how long"`
	Password secret.String `env:"PASSWORD" help:"the word"`
}

func (e *exported) Validate() []string {
	if e.Workers > 100 {
		return []string{"WORKERS: at most 100"}
	}
	return nil
}

func TestEverythingWrongIsNamedAtOnce(t *testing.T) {
	_, err := Load[exported](map[string]string{"WORKERS": "many", "WAIT": "soon", "PASSWORD_FILE": "/no/such/file"})
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("got %v, want *Error", err)
	}
	for _, want := range []string{"NATS_URL: must be set", "WORKERS: not a whole number", "WAIT: not a duration", "PASSWORD_FILE:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q:\n%v", want, err)
		}
	}
	if _, err := Load[exported](map[string]string{"NATS_URL": "x", "WORKERS": "101"}); err == nil || !strings.Contains(err.Error(), "WORKERS: at most 100") {
		t.Errorf("Validate was not asked: %v", err)
	}
}

func TestAValueMayStandInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(path, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load[exported](map[string]string{"NATS_URL": "nats://x", "PASSWORD_FILE": path, "NATS_CREDS_FILE": "/a.creds"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Password.Reveal() != "sesame" || got.Creds != "/a.creds" || got.Workers != 4 || got.Wait != 2*time.Second || got.URL != "nats://x" {
		t.Errorf("read as %+v", got)
	}
	if _, err := Load[exported](map[string]string{"NATS_URL": "x", "PASSWORD": "a", "PASSWORD_FILE": path}); err == nil {
		t.Error("value and file together were accepted")
	}
}

func TestHelpNamesEveryVariable(t *testing.T) {
	var out strings.Builder
	if err := Help[exported](&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NATS_URL", "(required)", "WORKERS", "4", "how many at once", "X_FILE"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, out.String())
		}
	}
}

func TestListenAddr(t *testing.T) {
	for _, good := range []string{"127.0.0.1:8080", ":9090", "[::1]:0", "localhost:65535"} {
		if err := ListenAddr(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "8080", "nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "::1:80", "127.0.0.1:no-such-port"} {
		if err := ListenAddr(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
