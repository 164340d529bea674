package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// workspace is the top of the source tree.
func workspace() (string, error) {
	out, err := exec.Command("go", "env", "GOWORK").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" {
		return "", fmt.Errorf("go env GOWORK: %q, %w", file, err)
	}
	return filepath.Dir(file), nil
}

// build builds a command of the workspace as `make build` does.
func build(pkg, into string) error {
	root, err := workspace()
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", into, pkg)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// product is `sallyport up` in a process of its own.
type product struct {
	cmd     *exec.Cmd
	http    *client
	ops     string
	sandbox string
	ready   time.Duration // from its start to the first readiness
	output  *bytes.Buffer
}

// freePorts finds ports of loopback that nobody listens on.
func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // all are held until the last one is found
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// startProduct starts the installation in dir and waits until it is ready.
func startProduct(ctx context.Context, binary, dir string, flags ...string) (*product, error) {
	addrs, err := freePorts(5)
	if err != nil {
		return nil, err
	}
	p := &product{ops: addrs[1], sandbox: addrs[2], output: &bytes.Buffer{}}
	p.cmd = exec.CommandContext(ctx, binary, append([]string{
		"up", "--data", dir, "--listen", addrs[0], "--ops", addrs[1], "--sandbox", addrs[2], "--nats", addrs[3], "--store", addrs[4],
	}, flags...)...)
	p.cmd.Env = append(os.Environ(), "SMS_COUNTRIES=US")
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.http = newClient(addrs[0], p.cmd.Process.Pid)
	for tick := time.Tick(2 * time.Millisecond); ; {
		if r, err := http.Get("http://" + p.ops + "/readyz"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				p.ready = time.Since(begin)
				return p, nil
			}
		}
		if time.Since(begin) > 5*time.Minute { // the first start among many people builds their indexes
			return nil, errors.Join(fmt.Errorf("not ready after five minutes:\n%s", p.output), p.stop())
		}
		<-tick
	}
}

// stop ends it and waits for that.
func (p *product) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("sallyport up: %w\n%s", err, p.output)
	}
	return nil
}

// memory is a figure of [memoryOf] of the product.
func (p *product) memory(what string) (float64, error) { return memoryOf(p.cmd.Process.Pid, what) }

// memoryOf reads a figure of /proc/PID/status: VmRSS is what is resident now, VmHWM the most there was. In MiB.
func memoryOf(pid int, what string) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc", what)
}

// forgetPeak makes the kernel count VmHWM anew from now on.
func (p *product) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// commands is how many commands the services have sent to the document store so far.
func (p *product) commands(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	n, found := 0, false
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "sallyport_store_operation_duration_seconds_count{"); ok {
			_, value, _ := strings.Cut(rest, "} ")
			one, err := strconv.Atoi(value)
			if err != nil {
				return 0, err
			}
			n, found = n+one, true
		}
	}
	if !found {
		return 0, errors.New("/metrics does not count the store's commands")
	}
	return n, nil
}
