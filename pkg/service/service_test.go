package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
	"sallyport/pkg/store"
)

// settings are those of a service with one of its own.
type settings struct {
	service.Settings
	Colour string `env:"COLOUR,required,notEmpty" help:"of the door"`
}

func (s *settings) Validate() []string { return s.Problems() }

func start(ctx context.Context, env service.Env) (*service.Service, error) {
	s, err := service.Load[settings](contract.Policy, env.Vars)
	if err != nil {
		return nil, err
	}
	return service.Open(ctx, contract.Policy, env, s.Settings)
}

// asProcess makes the test binary run [service.Main], to see its exit status.
const asProcess = "SALLYPORT_TEST_AS_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) != "" {
		os.Exit(service.Main[settings](contract.Policy, start))
	}
	os.Exit(m.Run())
}

func process(t *testing.T, vars map[string]string, args ...string) (*exec.Cmd, *servicetest.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = []string{asProcess + "=1", "OPS_ADDR=127.0.0.1:0"}
	for k, v := range vars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out := &servicetest.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

func TestExitStatus(t *testing.T) {
	w := servicetest.New(t)
	good := w.Env(contract.Policy, map[string]string{"COLOUR": "red", "START_TIMEOUT": "500ms"}).Vars
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	with := func(changes ...string) map[string]string {
		vars := make(map[string]string)
		for k, v := range good {
			vars[k] = v
		}
		for i := 0; i < len(changes); i += 2 {
			vars[changes[i]] = changes[i+1]
		}
		return vars
	}
	for _, row := range []struct {
		name   string
		vars   map[string]string
		args   []string
		status int
		says   []string
	}{
		{"help", nil, []string{"--help"}, 0, []string{"COLOUR", "of the door", "NATS_URL", "(required)", "OPS_ADDR"}},
		{"unknown flag", good, []string{"--verbose"}, 2, []string{"verbose"}},
		{"arguments", good, []string{"up"}, 2, []string{"no arguments"}},
		{"nothing set", nil, nil, 2, []string{"NATS_URL", "MONGODB_URI", "KEYSET_FILE", "COLOUR"}},
		{"everything wrong", with("NATS_REPLICAS", "2", "LOG_LEVEL", "LOUD", "START_TIMEOUT", "soon", "COLOUR", "", "NATS_USER", "a", "NATS_CREDS_FILE", "b"), nil, 2, []string{"NATS_REPLICAS", "LOG_LEVEL", "START_TIMEOUT", "COLOUR", "NATS_CREDS_FILE"}},
		{"addresses and files that are none", with("NATS_URL", "hunter2", "MONGODB_URI", "hunter2", "OPS_ADDR", "nonsense", "NATS_USER", "", "NATS_CREDS_FILE", "/nowhere/creds", "KEYSET_FILE", "/nowhere/keys", "COLOUR", ""), nil, 2, []string{"NATS_URL:", "MONGODB_URI:", "OPS_ADDR:", "NATS_CREDS_FILE: open /nowhere/creds", "KEYSET_FILE:", "/nowhere/keys", "COLOUR:"}},
		{"key file of another", with("KEYSET_FILE", w.Env(contract.TOTP, nil).Vars["KEYSET_FILE"]), nil, 2, []string{"KEYSET_FILE:", "belongs to totp-svc"}},
		{"no key file", with("KEYSET_FILE", "/nowhere/keys"), nil, 2, []string{"KEYSET_FILE", "/nowhere/keys"}},
		{"ops listener taken", with("OPS_ADDR", busy.Addr().String()), nil, 1, []string{busy.Addr().String()}},
		{"no NATS", with("NATS_URL", "nats://eve:hunter2@127.0.0.1:1"), nil, 1, []string{"NATS at", "127.0.0.1:1"}},
		{"no store", with("MONGODB_URI", "mongodb://eve:hunter2@127.0.0.1:2"), nil, 1, []string{"document store at", "127.0.0.1:2"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cmd, out := process(t, row.vars, row.args...)
			begin := time.Now()
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != row.status {
				t.Errorf("status %d, want %d", got, row.status)
			}
			for _, s := range row.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("does not name %s", s)
				}
			}
			if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "panic") {
				t.Error("says too much")
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

func TestProcessStopsOnSignal(t *testing.T) {
	w := servicetest.New(t)
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd, out := process(t, w.Env(contract.Policy, map[string]string{"COLOUR": "red"}).Vars)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		servicetest.Eventually(t, "ready", func() bool { return strings.Contains(out.String(), `"msg":"ready"`) })
		begin := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || time.Since(begin) > 5*time.Second {
			t.Errorf("%v: %v after %v\n%s", sig, err, time.Since(begin), out)
		}
	}
}

// A running service is asked by the same binary whether it is ready: by --ready, which is the health check of an image
// without a shell.
func TestReadyAsksTheOneThatRuns(t *testing.T) {
	w := servicetest.New(t)
	svc, err := start(t.Context(), w.Env(contract.Policy, map[string]string{"COLOUR": "red"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Stop(context.Background()) })
	var broken atomic.Bool
	svc.CheckReady("colour", func(context.Context) error {
		if broken.Load() {
			return errors.New("the door is not red")
		}
		return nil
	})
	listener, err := service.ServeOps("127.0.0.1:0", svc.Log, func() []*service.Service { return []*service.Service{svc} }, svc.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close(context.Background()) })
	_, port, err := net.SplitHostPort(listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(addr string) (string, error) {
		cmd, out := process(t, nil, "--ready")
		cmd.Env = append(cmd.Env, "OPS_ADDR="+addr)
		err := cmd.Run()
		return out.String(), err
	}
	for _, addr := range []string{listener.Addr(), "0.0.0.0:" + port, ":" + port, "localhost:" + port} {
		if said, err := ask(addr); err != nil {
			t.Errorf("%s: %v\n%s", addr, err, said)
		}
	}
	broken.Store(true)
	if said, err := ask(listener.Addr()); err == nil || !strings.Contains(said, "the door is not red") {
		t.Errorf("not ready: %v\n%s", err, said)
	}
	if said, err := ask("127.0.0.1:1"); err == nil || !strings.Contains(said, "127.0.0.1:1") {
		t.Errorf("nobody there: %v\n%s", err, said)
	}
	if said, err := ask("nowhere"); err == nil || !strings.Contains(said, "OPS_ADDR") {
		t.Errorf("no address: %v\n%s", err, said)
	}
}

// Stop ends what takes work in, then finishes the work, and takes the connections away last.
func TestStopIsOrdered(t *testing.T) {
	w := servicetest.New(t)
	svc, err := start(t.Context(), w.Env(contract.Policy, map[string]string{"COLOUR": "red"}))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	step := func(name string) { mu.Lock(); defer mu.Unlock(); order = append(order, name) }
	type thing struct {
		ID string `bson:"_id"`
	}
	things := store.Of[thing](svc.DB, "things")
	usable := func(name string) { // by whatever is still at work
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		err := errors.Join(
			things.Insert(ctx, thing{name}),
			bus.Publish(ctx, svc.Bus, contract.SettingsChanged, name, contract.SettingsFact{Portal: "p"}),
		)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		step(name)
	}
	svc.OnStop("first added", func(context.Context) error { usable("intake 1"); return nil })
	svc.OnStop("last added", func(context.Context) error { usable("intake 2"); return errors.New("door stuck") })
	svc.Go(func(ctx context.Context) { <-ctx.Done(); usable("background") })
	begun, release := make(chan struct{}), make(chan struct{})
	ask := contract.Call[contract.Empty, contract.Empty]{Subject: contract.PolicySettings.Subject, Server: contract.Policy}
	if err := bus.Handle(svc.Bus, ask, func(context.Context, contract.Empty) (contract.Empty, error) {
		close(begun)
		<-release
		usable("call")
		return contract.Empty{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	gateway := w.Bus(contract.AuthGateway)
	go func() {
		_, err := bus.Request(context.Background(), gateway, ask, contract.Empty{})
		answered <- err
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- svc.Stop(context.Background()) }()
	servicetest.Eventually(t, "intake has ended", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 2 })
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the call in hand was answered by %v", err)
	}
	if err := <-stopped; err == nil || !strings.Contains(err.Error(), "policy-svc: stop last added: door stuck") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want the one step that failed", err)
	}
	if want := []string{"intake 2", "intake 1", "call", "background"}; !slices.Equal(order, want) {
		t.Errorf("got  %v\nwant %v", order, want)
	}
	wrong := svc.Ready(t.Context())
	if wrong["nats"] == "" || wrong["store"] == "" {
		t.Errorf("stopped and still ready: %v", wrong)
	}
	if err := svc.Stop(t.Context()); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
}

func TestStopIsBounded(t *testing.T) {
	w := servicetest.New(t)
	svc, err := start(t.Context(), w.Env(contract.Policy, map[string]string{"COLOUR": "red"}))
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	svc.Go(func(context.Context) { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := svc.Stop(ctx); err == nil || !strings.Contains(err.Error(), "background work") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	w := servicetest.New(t)
	st, err := embedded.StartStore(embedded.StoreOptions{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	nats, err := embedded.StartNATS(embedded.NATSOptions{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close(context.Background()); _ = nats.Close(context.Background()) })
	env := w.Env(contract.Policy, map[string]string{"COLOUR": "red", "MONGODB_URI": st.URI(), "NATS_URL": nats.URL()})
	var running atomic.Pointer[service.Service]
	ops, err := service.ServeOps("127.0.0.1:0", slog.New(slog.DiscardHandler), func() []*service.Service {
		if s := running.Load(); s != nil {
			return []*service.Service{s}
		}
		return nil
	}, env.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ops.Close(context.Background()) })
	get := func(path string) (int, string) {
		t.Helper()
		begin := time.Now()
		r, err := http.Get("http://" + ops.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var body bytes.Buffer
		if _, err := body.ReadFrom(r.Body); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s took %v", path, took)
		}
		return r.StatusCode, body.String()
	}
	expect := func(status int, missing ...string) {
		t.Helper()
		got, body := get("/readyz")
		var v struct {
			Ready    bool
			Problems map[string]map[string]string
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		if got != status || v.Ready != (status == http.StatusOK) {
			t.Errorf("%d %s, want %d", got, body, status)
		}
		for _, name := range missing {
			if v.Problems["policy-svc"][name] == "" {
				t.Errorf("%s is not named: %s", name, body)
			}
		}
		if total := len(v.Problems["policy-svc"]); total != len(missing) {
			t.Errorf("%d problems, want %d: %s", total, len(missing), body)
		}
		if status, _ := get("/healthz"); status != http.StatusOK {
			t.Error("the process does not live")
		}
	}
	expect(http.StatusServiceUnavailable) // not started yet
	svc, err := start(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = svc.Stop(ctx)
	})
	running.Store(svc)
	expect(http.StatusOK)
	svc.CheckReady("weather", func(context.Context) error { return errors.New("rain") })
	expect(http.StatusServiceUnavailable, "weather")
	if err := st.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(http.StatusServiceUnavailable, "weather", "store")
	if err := nats.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, "the bus notices", func() bool { return svc.Bus.Ready(t.Context()) != nil })
	expect(http.StatusServiceUnavailable, "weather", "store", "nats")

	status, body := get("/metrics")
	for _, name := range []string{"go_goroutines", "process_open_fds", `sallyport_store_operation_duration_seconds_count{command="other",outcome="ok",service="policy-svc"}`} {
		if status != http.StatusOK || !strings.Contains(body, name) {
			t.Errorf("metrics lack %s", name)
		}
	}
}

// Nothing is left behind by a start that fails, and its error names what is missing.
func TestOpenNamesWhatIsMissing(t *testing.T) {
	w := servicetest.New(t)
	for name, row := range map[string]struct{ vars map[string]string }{
		"NATS at nats://127.0.0.1:1":      {map[string]string{"NATS_URL": "nats://127.0.0.1:1"}},
		"document store at [127.0.0.1:2]": {map[string]string{"MONGODB_URI": "mongodb://127.0.0.1:2"}},
		"KEYSET_FILE":                     {map[string]string{"KEYSET_FILE": t.TempDir() + "/none"}},
		"MONGODB_URI":                     {map[string]string{"MONGODB_URI": "hunter2"}},
	} {
		row.vars["COLOUR"], row.vars["START_TIMEOUT"] = "red", "300ms"
		_, err := start(t.Context(), w.Env(contract.Policy, row.vars))
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProblems(t *testing.T) {
	good := service.Settings{NATSReplicas: 3, StartTimeout: time.Second}
	if got := good.Problems(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	for name, change := range map[string]func(*service.Settings){
		"NATS_REPLICAS":   func(s *service.Settings) { s.NATSReplicas = 4 },
		"START_TIMEOUT":   func(s *service.Settings) { s.StartTimeout = 0 },
		"NATS_CREDS_FILE": func(s *service.Settings) { s.NATSCredsFile, s.NATSUser = "a", "b" },
		"NATS_URL":        func(s *service.Settings) { s.NATSURL = "nats://127.0.0.1:4222,garbage" },
		"MONGODB_URI":     func(s *service.Settings) { s.MongoDBURI = secret.New("127.0.0.1:27017") },
		"OPS_ADDR":        func(s *service.Settings) { s.OpsAddr = "127.0.0.1:99999" },
	} {
		s := good
		change(&s)
		if got := s.Problems(); len(got) != 1 || !strings.HasPrefix(got[0], name+":") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whatever a careless author logs, a secret stays one.
func TestLogKeepsSecrets(t *testing.T) {
	word := secret.New("hunter2")
	type inner struct{ Code secret.String }
	type request struct {
		User  string
		Word  secret.String
		Inner *inner
		List  []secret.String
		Map   map[string]secret.String
		Any   any
	}
	r := request{"dana", word, &inner{word}, []secret.String{word}, map[string]secret.String{"a": word}, word}
	var out bytes.Buffer
	log := service.NewLog(&out, slog.LevelDebug)
	log.With(slog.Any("with", r)).WithGroup("group").Info("careless",
		slog.Any("value", word), slog.Any("pointer", &word), slog.Any("struct", r), slog.Any("struct_pointer", &r),
		slog.Any("list", r.List), slog.Any("map", r.Map), slog.Any("any", []any{word, &word, r}),
		slog.Any("error", fmt.Errorf("checking %v: %w", word, errors.New("no"))),
		slog.Group("inner", slog.Any("struct", r), slog.Any("settings", service.Settings{NATSPassword: word, MongoDBURI: word})),
		"loose", r)
	log.Debug("at", slog.Duration("took", time.Second), slog.Time("at", time.Unix(0, 0).UTC()), slog.Int("n", 1))
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the log tells: %s", out.String())
	}
	for _, want := range []string{"dana", secret.Redacted, `"took":1000000000`, `"at":"1970-01-01T00:00:00Z"`, `"n":1`, `"msg":"careless"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %s: %s", want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	out.Reset()
	service.NewLog(&out, slog.LevelWarn).Info("quiet")
	if out.Len() != 0 {
		t.Error("the level is not kept")
	}
}
