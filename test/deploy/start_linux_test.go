package deploy

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"sallyport/test/sut"
)

const nobody = 65532

// container is what Compose would start from an image that was made from scratch: a root with one binary, what is mounted,
// and names for the others. It has no network of its own: each part has a loopback address instead.
type container struct {
	tb   testing.TB
	name string
	root string
	addr string
	env  []string
	args []string
	uid  int
}

// yard is all containers of a project on loopback addresses.
type yard struct {
	tb      testing.TB
	project *types.Project
	addrs   map[string]string // name → address
	volumes string
}

func newYard(tb testing.TB) *yard {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("a container is played by chroot and another user, which root alone may do")
	}
	y := &yard{tb: tb, project: composed(tb), volumes: tb.TempDir(), addrs: make(map[string]string)}
	network := fmt.Sprintf("127.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250))
	for n, name := range slices.Sorted(maps.Keys(y.project.Services)) {
		y.addrs[name] = fmt.Sprintf("%s.%d", network, 10+n)
	}
	return y
}

// container makes the root of a part. A volume is a directory that stays; only what the binary needs is there.
func (y *yard) container(name, binary string) *container {
	y.tb.Helper()
	s := y.project.Services[name]
	c := &container{tb: y.tb, name: name, root: y.tb.TempDir(), addr: y.addrs[name], args: s.Command, uid: nobody}
	y.must(os.Chmod(c.root, 0o755))
	if s.User == "0:0" {
		c.uid = 0
	}
	y.copy(binary, filepath.Join(c.root, "service"), 0o755)
	y.must(os.MkdirAll(filepath.Join(c.root, "etc"), 0o755))
	var hosts strings.Builder
	fmt.Fprintln(&hosts, "127.0.0.1 localhost")
	for other, addr := range y.addrs {
		fmt.Fprintln(&hosts, addr, other)
	}
	y.must(os.WriteFile(filepath.Join(c.root, "etc", "hosts"), []byte(hosts.String()), 0o644))
	for k, v := range environment(s) {
		c.env = append(c.env, k+"="+v)
	}
	for _, v := range s.Volumes {
		target := filepath.Join(c.root, v.Target)
		switch v.Type {
		case types.VolumeTypeBind:
			y.must(os.MkdirAll(filepath.Dir(target), 0o755))
			y.copy(v.Source, target, 0o644)
		default:
			source := filepath.Join(y.volumes, v.Source)
			if v.Volume != nil {
				source = filepath.Join(source, v.Volume.Subpath)
			}
			y.must(os.MkdirAll(source, 0o755)) // as Docker makes one: root's
			y.must(os.MkdirAll(target, 0o755))
			y.must(syscall.Mount(source, target, "", syscall.MS_BIND, ""))
			y.tb.Cleanup(func() { _ = syscall.Unmount(target, syscall.MNT_DETACH) })
		}
	}
	return c
}

func (y *yard) must(err error) {
	y.tb.Helper()
	if err != nil {
		y.tb.Fatal(err)
	}
}

func (y *yard) copy(from, to string, mode fs.FileMode) {
	y.tb.Helper()
	raw, err := os.ReadFile(from)
	y.must(err)
	y.must(os.WriteFile(to, raw, mode))
}

// told replaces a setting.
func (c *container) told(name, value string) {
	c.env = slices.DeleteFunc(c.env, func(v string) bool { return strings.HasPrefix(v, name+"=") || strings.HasPrefix(v, name+"_FILE=") })
	c.env = append(c.env, name+"="+value)
}

// output is what a part says.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	ended atomic.Bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// command is the binary in its root, as nobody.
func (c *container) command(args ...string) (*exec.Cmd, *output) {
	cmd := exec.Command("/service", args...)
	cmd.Dir, cmd.Env = "/", c.env
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: c.root, Pdeathsig: syscall.SIGKILL,
		Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.uid)},
	}
	return cmd, out
}

// run runs it to its end, which must be good.
func (c *container) run(args ...string) string {
	c.tb.Helper()
	cmd, out := c.command(args...)
	if err := cmd.Run(); err != nil {
		c.tb.Fatalf("%s %v: %v\n%s", c.name, args, err, out)
	}
	return out.String()
}

// start runs it until the test ends, and wants it to stop in order then.
func (c *container) start(args ...string) *output {
	c.tb.Helper()
	cmd, out := c.command(args...)
	if err := cmd.Start(); err != nil {
		c.tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		out.ended.Store(true)
		ended <- err
	}()
	c.tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			// nats-server ends with 1 after SIGTERM.
			if err != nil && !strings.HasPrefix(c.name, "nats-") {
				c.tb.Errorf("%s: %v\n%s", c.name, err, out)
			}
		case <-time.After(15 * time.Second):
			_ = cmd.Process.Kill()
			c.tb.Errorf("%s does not stop", c.name)
		}
	})
	return out
}

// natsServer builds the server that Compose has as an image, of the same version.
func natsServer(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "nats-server")
	cmd := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2")
	cmd.Dir, cmd.Env = at(tb, "test"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("nats-server: %v\n%s", err, out)
	}
	return path
}

// healthy waits for a 200.
func healthy(tb testing.TB, url string, out *output) {
	tb.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		ctx, cancel := context.WithTimeout(tb.Context(), 3*time.Second)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		resp, err := http.DefaultClient.Do(req)
		cancel()
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = errors.New(resp.Status)
		}
		if out.ended.Load() || time.Now().After(deadline) {
			tb.Fatalf("%s: %v\n%s", url, err, out)
		}
		pause := time.NewTimer(100 * time.Millisecond)
		<-pause.C
	}
}

// What deploy/compose.yaml starts is started, each part in an empty root as nobody, with the settings, files and names that it
// has there: keys and certificates are made and handed over, three NATS servers find each other under TLS, streams get three
// copies, and the four services become ready. Documents are in the embedded store, for want of a MongoDB.
func TestComposeStarts(t *testing.T) {
	y := newYard(t)
	y.container("provision", static(t, "sallyport")).run(y.project.Services["provision"].Command...)
	server := natsServer(t)
	outs := make(map[string]*output)
	for _, name := range []string{"nats-1", "nats-2", "nats-3"} {
		c := y.container(name, server)
		conf := filepath.Join(c.root, "etc", "nats", "nats.conf")
		text := strings.NewReplacer("0.0.0.0:", c.addr+":", "127.0.0.1:8222", c.addr+":8222").Replace(string(read(t, conf)))
		y.must(os.WriteFile(conf, []byte(text), 0o644))
		outs[name] = c.start(y.project.Services[name].Entrypoint[1:]...)
	}
	for _, name := range []string{"nats-1", "nats-2", "nats-3"} {
		healthy(t, "http://"+y.addrs[name]+":8222/healthz", outs[name])
	}
	y.container("nats-prepare", static(t, "sallyport")).run("nats-prepare")

	documents := sut.StartParts(t).Env["MONGODB_URI"]
	parts := make(map[string]*container)
	for _, name := range services {
		c := y.container(name, static(t, name))
		c.told("MONGODB_URI", documents)
		c.told("OPS_ADDR", c.addr+":9090")
		if name == "auth-gateway" {
			c.told("LISTEN_ADDR", c.addr+":8080")
		}
		parts[name], outs[name] = c, c.start()
	}
	for _, name := range services {
		healthy(t, "http://"+y.addrs[name]+":9090/readyz", outs[name])
		parts[name].run(y.project.Services[name].HealthCheck.Test[2:]...)
	}
	healthy(t, "http://"+y.addrs["auth-gateway"]+":8080/openapi.json", outs["auth-gateway"])

	operator := y.container("operator", static(t, "sallyport"))
	operator.told("MONGODB_URI", documents)
	cmd, out := operator.command("doctor", "--json")
	cmd.Dir = y.project.Services["operator"].WorkingDir
	_ = cmd.Run() // there is no portal yet, and it says so
	for _, want := range []string{"copies of each: 3", "Each service has its key file"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
}

// static is a binary as it goes into an image. Under the race detector the product's are not: then it is built here.
func static(tb testing.TB, name string) string {
	tb.Helper()
	path := sut.Binary(tb, name)
	if !loaded(tb, path) {
		return path
	}
	path = filepath.Join(tb.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./services/"+name)
	cmd.Dir, cmd.Env = at(tb), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build %s: %v\n%s", name, err, out)
	}
	return path
}

// loaded tells whether a binary wants a loader or libraries of the system.
func loaded(tb testing.TB, path string) bool {
	tb.Helper()
	f, err := elf.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return true
		}
	}
	libraries, err := f.ImportedLibraries()
	return err == nil && len(libraries) > 0
}

// What goes into an image is one static binary, which needs no loader and no library of any system.
func TestBinariesAreStatic(t *testing.T) {
	for _, name := range append([]string{"sallyport"}, services...) {
		if loaded(t, static(t, name)) {
			t.Errorf("%s is not static", name)
		}
	}
}
