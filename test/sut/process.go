package sut

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is one command of the product.
type Process struct {
	// Name is the command's name.
	Name string

	tb             testing.TB
	cmd            *exec.Cmd
	ended          chan struct{} // closed when code is known
	code           int
	all            *buffer
	stdout, stderr *buffer
}

// Run starts a command of the product. env is its whole environment but for PATH, HOME and TMPDIR. What the test
// leaves running is killed at its end.
func Run(tb testing.TB, name string, env map[string]string, args ...string) *Process {
	tb.Helper()
	p := begin(tb, name, env, args...)
	tb.Cleanup(p.Kill9)
	return p
}

// RunTool is [Run] for a command that is not of the product: a file, or a name that is looked up in PATH.
func RunTool(tb testing.TB, path string, args ...string) *Process {
	tb.Helper()
	return RunToolWith(tb, path, nil, args...)
}

// RunToolWith is [RunTool] with an environment, as [Run] has it.
func RunToolWith(tb testing.TB, path string, env map[string]string, args ...string) *Process {
	tb.Helper()
	p := beginAt(tb, filepath.Base(path), path, env, args...)
	tb.Cleanup(p.Kill9)
	return p
}

// begin is Run for those who see to the end of the process.
func begin(tb testing.TB, name string, env map[string]string, args ...string) *Process {
	tb.Helper()
	return beginAt(tb, name, Binary(tb, name), env, args...)
}

func beginAt(tb testing.TB, name, path string, env map[string]string, args ...string) *Process {
	tb.Helper()
	p := &Process{Name: name, tb: tb, ended: make(chan struct{}), all: &buffer{}, stdout: &buffer{}, stderr: &buffer{}}
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = io.MultiWriter(p.all, p.stdout), io.MultiWriter(p.all, p.stderr)
	vars := map[string]string{}
	for _, inherited := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		if v := os.Getenv(inherited); v != "" {
			vars[inherited] = v
		}
	}
	maps.Copy(vars, env)
	p.cmd.Env = []string{}
	for k, v := range vars {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	dieWithTest(p.cmd)
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	go func() {
		err := p.cmd.Wait()
		var exit *exec.ExitError
		switch {
		case err == nil:
		case errors.As(err, &exit):
			p.code = exit.ExitCode() // -1 after a signal
		default:
			p.code = -1
		}
		close(p.ended)
	}()
	return p
}

// Exit waits for the process to end by itself and returns its status; -1 means that a signal ended it.
func (p *Process) Exit(within time.Duration) int {
	p.tb.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(within):
		p.tb.Fatalf("%s still runs after %v\n%s", p.Name, within, tail(p.Output()))
		return -1
	}
}

// Terminate ends the process by SIGTERM, fails the test unless it obeys within ten seconds with status 0, and returns
// how long it took.
func (p *Process) Terminate() time.Duration {
	p.tb.Helper()
	begun := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended: the status tells
	select {
	case <-p.ended:
	case <-time.After(stopWithin):
		p.Kill9()
		p.tb.Errorf("%s did not stop within %v of SIGTERM\n%s", p.Name, stopWithin, tail(p.Output()))
		return stopWithin
	}
	took := time.Since(begun)
	if p.code != 0 {
		p.tb.Errorf("%s: status %d, %v after SIGTERM; want 0\n%s", p.Name, p.code, took, tail(p.Output()))
	}
	return took
}

// Kill9 ends the process as a crash does, if it still runs. Usable from any goroutine.
func (p *Process) Kill9() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// Suspend stops the process in its tracks: it keeps its connections and answers nobody. Continue lets it go on.
func (p *Process) Suspend() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue undoes Suspend.
func (p *Process) Continue() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// Running tells whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is all that was written so far, Stdout and Stderr each alone.
func (p *Process) Output() string { return p.all.String() }

// Stdout is what was written to the standard output so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is what was written to the standard error so far.
func (p *Process) Stderr() string { return p.stderr.String() }

// ready waits until the ops listener says that the process is ready.
func (p *Process) ready(ops string) error {
	ok := poll(readyWithin, func() bool { return !p.Running() || Ready(ops) })
	switch {
	case !p.Running():
		return fmt.Errorf("ended with status %d before it was ready", p.code)
	case !ok:
		p.Kill9()
		return fmt.Errorf("not ready after %v", readyWithin)
	}
	return nil
}

// Ready asks an ops listener whether its process is ready now.
func Ready(ops string) bool {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(ops + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // nothing was read
	return resp.StatusCode == http.StatusOK
}

// portTaken tells by its output whether a process found one of its ports in use.
func portTaken(output string) bool { return strings.Contains(output, "address already in use") }

// buffer collects output from several goroutines.
type buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write appends.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// String returns all that was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
