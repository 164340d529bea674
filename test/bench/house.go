package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// The parts that services need, each in a process of its own.
const (
	partNATS  = "NATS"
	partStore = "document store"
	partSNS   = "SNS endpoint"
)

// houseServices are the four, in the order in which they start.
var houseServices = []contract.Service{contract.Policy, contract.TOTP, contract.SMSDispatcher, contract.AuthGateway}

// house is an installation in seven processes: NATS, the document store, the SNS endpoint and the four services. Each
// service reaches NATS and the store through a relay, which counts what passes.
type house struct {
	dir, binaries string
	cmds          map[string]*exec.Cmd
	ended         map[string]chan error // how a process ended, once
	outputs       map[string]*bytes.Buffer
	ops           map[contract.Service]string
	env           map[contract.Service][]string
	toNATS        map[contract.Service]*relay
	toStore       map[contract.Service]*relay
	nats, sandbox string // addresses
	store, listen string
	http          *client
}

// openHouse starts the installation in dir.
func openHouse(ctx context.Context, binaries, dir string) (_ *house, err error) {
	addrs, err := freePorts(8)
	if err != nil {
		return nil, err
	}
	h := &house{
		dir: dir, binaries: binaries, nats: addrs[0], store: addrs[1], sandbox: addrs[2], listen: addrs[3],
		cmds: map[string]*exec.Cmd{}, ended: map[string]chan error{}, outputs: map[string]*bytes.Buffer{}, ops: map[contract.Service]string{}, env: map[contract.Service][]string{},
		toNATS: map[contract.Service]*relay{}, toStore: map[contract.Service]*relay{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	// What the environment names is not started: each process gets one part.
	parts := []struct{ name, variable string }{{partNATS, "NATS_URL"}, {partStore, "MONGODB_URI"}, {partSNS, "AWS_ENDPOINT_URL_SNS"}}
	for _, part := range parts {
		var others []string
		for _, other := range parts {
			if other != part {
				others = append(others, other.variable+"=elsewhere")
			}
		}
		if err := h.startPart(ctx, part.name, others); err != nil {
			return nil, err
		}
	}
	for n, s := range houseServices {
		h.ops[s] = addrs[4+n]
		if h.toNATS[s], err = openRelay(h.nats); err != nil {
			return nil, err
		}
		if h.toStore[s], err = openRelay(h.store); err != nil {
			return nil, err
		}
		keys := filepath.Join(dir, "keys")
		h.env[s] = append(os.Environ(),
			"KEYSET_FILE="+filepath.Join(keys, string(s)+".json"), "OPS_ADDR="+h.ops[s], "LOG_LEVEL=ERROR",
			"NATS_URL=nats://"+h.toNATS[s].addr(), "NATS_USER="+string(s), "NATS_PASSWORD_FILE="+permit.PasswordFile(keys, permit.User(s)),
			"MONGODB_URI=mongodb://"+h.toStore[s].addr()+"/?directConnection=true&retryWrites=false",
			"LISTEN_ADDR="+h.listen, "PUBLIC_URL=http://"+h.listen, "SMS_COUNTRIES=US",
			"AWS_ENDPOINT_URL_SNS=http://"+h.sandbox, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=sandbox", "AWS_SECRET_ACCESS_KEY=sandbox",
		)
		if _, err := h.start(ctx, s); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// startPart starts `sallyport infra` with one part and waits until it says so.
func (h *house) startPart(ctx context.Context, name string, env []string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(h.binaries, "sallyport"), "infra", "--data", h.dir, "--nats", h.nats, "--store", h.store, "--sandbox", h.sandbox)
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.cmds[name], h.outputs[name] = cmd, &bytes.Buffer{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "KEYSET_FILE=") {
			h.follow(name)
			return nil
		}
	}
	return fmt.Errorf("%s does not start", name)
}

// follow notes how a process ends.
func (h *house) follow(name string) {
	cmd, ended := h.cmds[name], make(chan error, 1)
	h.ended[name] = ended
	go func() { ended <- cmd.Wait() }()
}

// start starts a service, for the first time or again, and returns how long it took to be ready. One that gives up is
// started again, as a supervisor does: the first start among many people builds their indexes, and takes its time.
func (h *house) start(ctx context.Context, s contract.Service) (time.Duration, error) {
	name, begin := string(s), time.Now()
	for {
		cmd, output := exec.CommandContext(ctx, filepath.Join(h.binaries, name)), &bytes.Buffer{}
		cmd.Env, cmd.Stdout, cmd.Stderr = h.env[s], output, output
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		h.cmds[name], h.outputs[name] = cmd, output
		h.follow(name)
		up, err := h.ready(s)
		if up {
			if s == contract.AuthGateway {
				h.http = newClient(h.listen, cmd.Process.Pid) // without connections to the one before
			}
			return time.Since(begin), nil
		}
		delete(h.cmds, name)
		if time.Since(begin) > 10*time.Minute {
			return 0, fmt.Errorf("%s does not start: %w\n%s", s, err, output)
		}
		progress("%s is started again: %s", s, output)
	}
}

// ready waits until a service is, or has ended.
func (h *house) ready(s contract.Service) (bool, error) {
	for tick := time.Tick(5 * time.Millisecond); ; {
		select {
		case err := <-h.ended[string(s)]:
			return false, err
		case <-tick:
			if ready(h.ops[s]) {
				return true, nil
			}
		}
	}
}

// stop ends one process and waits for that.
func (h *house) stop(name string) error {
	cmd := h.cmds[name]
	if cmd == nil {
		return nil
	}
	delete(h.cmds, name)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, h.outputs[name])
	}
	if err := <-h.ended[name]; err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, h.outputs[name])
	}
	return nil
}

func (h *house) pid(name string) int { return h.cmds[name].Process.Pid }

func (h *house) close() error {
	var errs []error
	for _, s := range []contract.Service{contract.AuthGateway, contract.Policy, contract.TOTP, contract.SMSDispatcher} {
		errs = append(errs, h.stop(string(s)))
		for _, r := range []*relay{h.toNATS[s], h.toStore[s]} {
			if r != nil {
				errs = append(errs, r.l.Close())
			}
		}
	}
	for _, part := range []string{partSNS, partStore, partNATS} {
		errs = append(errs, h.stop(part))
	}
	return errors.Join(errs...)
}

// relay passes connections on to another address and counts what goes there and back.
type relay struct {
	l           net.Listener
	to          string
	there, back atomic.Int64
}

func openRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{l: l, to: to}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go pass(out, in, &r.there)
			go pass(in, out, &r.back)
		}
	}()
	return r, nil
}

func (r *relay) addr() string { return r.l.Addr().String() }

// pass copies what one end says to the other, and hangs up when it does.
func pass(to, from net.Conn, n *atomic.Int64) {
	_, _ = io.Copy(counted{to, n}, from)
	_ = to.Close()
}

// counted hides everything of a connection but Write, so that nothing is copied past the count.
type counted struct {
	io.Writer
	n *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}
