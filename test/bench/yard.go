package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
)

// yard is `sallyport infra` in a process of its own, for dispatchers in others, and a gateway's bus to them.
type yard struct {
	dir, dispatcher string // data directory, binary
	cmd             *exec.Cmd
	vars            []string // settings by which a service finds the parts
	sandbox         string
	gateway         *bus.Bus
	watcher         *bus.Bus // sees the dispatchers' backlog
	box             *seal.Box
	serial          atomic.Int64
	replicas        []*replica
	sent            []job // what was sent last
}

// replica is one sms-dispatcher.
type replica struct {
	cmd    *exec.Cmd
	output *bytes.Buffer
}

// openYard starts the embedded parts.
func openYard(ctx context.Context, sallyport, dispatcher, dir string) (_ *yard, err error) {
	addrs, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	y := &yard{dir: dir, dispatcher: dispatcher, sandbox: "http://" + addrs[2]}
	y.cmd = exec.CommandContext(ctx, sallyport, "infra", "--data", dir, "--nats", addrs[0], "--store", addrs[1], "--sandbox", addrs[2])
	y.cmd.Stderr = os.Stderr
	out, err := y.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := y.cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, y.close())
		}
	}()
	// It prints a setting a line, and at last where the key files are.
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "KEYSET_FILE="); {
		if name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "="); ok {
			y.vars = append(y.vars, name+"="+strings.Trim(value, "'"))
		}
	}
	if len(y.vars) == 0 {
		return nil, errors.New("sallyport infra does not start")
	}
	keys, err := seal.Load(y.keys(contract.AuthGateway), contract.AuthGateway)
	if err != nil {
		return nil, err
	}
	y.box = keys.Bus
	log := slog.New(slog.DiscardHandler)
	as := func(s contract.Service) (*bus.Bus, error) {
		password, err := permit.Password(filepath.Join(y.dir, "keys"), permit.User(s))
		if err != nil {
			return nil, err
		}
		return bus.Visit(ctx, bus.Options{URL: "nats://" + addrs[0], Name: s, User: string(s), Password: password, Log: log})
	}
	if y.gateway, err = as(contract.AuthGateway); err != nil {
		return nil, err
	}
	y.watcher, err = as(contract.SMSDispatcher)
	return y, err
}

func (y *yard) keys(s contract.Service) string {
	return filepath.Join(y.dir, "keys", string(s)+".json")
}

// pid is the process of the embedded parts: NATS, the document store and the SNS endpoint.
func (y *yard) pid() int { return y.cmd.Process.Pid }

// settings are those of a dispatcher with so many workers. The limits are off: here a few networks and one portal ask for
// more texts in a minute than people do in a week.
func (y *yard) settings(workers int) []string {
	vars := append([]string{
		"KEYSET_FILE=" + y.keys(contract.SMSDispatcher), "SMS_COUNTRIES=US", fmt.Sprint("SMS_WORKERS=", workers), "LOG_LEVEL=ERROR",
		"SMS_CONVERSION_STOP=off",
	}, y.vars...)
	for _, limit := range []string{"NUMBER", "PREFIX", "NETWORK", "COUNTRY", "PORTAL", "PERSON"} {
		vars = append(vars, "SMS_LIMIT_"+limit+"=off")
	}
	return vars
}

// start starts dispatchers and waits until all are ready.
func (y *yard) start(ctx context.Context, n, workers int) error {
	addrs, err := freePorts(n)
	if err != nil {
		return err
	}
	for _, ops := range addrs {
		r := &replica{cmd: exec.CommandContext(ctx, y.dispatcher), output: &bytes.Buffer{}}
		r.cmd.Env = append(append(os.Environ(), y.settings(workers)...), "OPS_ADDR="+ops)
		r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
		if err := r.cmd.Start(); err != nil {
			return err
		}
		y.replicas = append(y.replicas, r)
	}
	for n, ops := range addrs {
		begin := time.Now()
		for tick := time.Tick(5 * time.Millisecond); !ready(ops); <-tick {
			if time.Since(begin) > time.Minute {
				return fmt.Errorf("sms-dispatcher is not ready after a minute:\n%s", y.replicas[n].output)
			}
		}
	}
	return nil
}

func ready(ops string) bool {
	r, err := http.Get("http://" + ops + "/readyz")
	if err != nil {
		return false
	}
	_ = r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// stop ends the dispatchers in order.
func (y *yard) stop() error {
	var errs []error
	for _, r := range y.replicas {
		errs = append(errs, r.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, r := range y.replicas {
		if err := r.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("sms-dispatcher: %w\n%s", err, r.output))
		}
	}
	y.replicas = nil
	return errors.Join(errs...)
}

func (y *yard) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	errs := []error{y.stop()}
	for _, b := range []*bus.Bus{y.gateway, y.watcher} {
		if b != nil {
			errs = append(errs, b.Close(ctx))
		}
	}
	errs = append(errs, y.cmd.Process.Signal(syscall.SIGTERM), y.cmd.Wait())
	return errors.Join(errs...)
}

// endpoint tells the SNS endpoint how to behave.
func (y *yard) endpoint(ctx context.Context, document string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, y.sandbox+"/faults", strings.NewReader(document))
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT /faults %s: %s", document, r.Status)
	}
	return nil
}

// job is a challenge whose text was not asked for yet.
type job struct {
	contract.ChallengeRequest
	number string
	opened time.Time
}

// openOne opens a challenge of somebody new, as the gateway does.
func (y *yard) openOne(ctx context.Context) (job, error) {
	u := user{n: int(y.serial.Add(1)), phone: true}
	j := job{ChallengeRequest: contract.ChallengeRequest{Account: u.account(), Challenge: bus.NewID()}, number: u.number(), opened: time.Now()}
	phone, err := y.box.SealField(secret.New(u.number()), contract.PurposePhone, j.Account)
	if err != nil {
		return j, err
	}
	r, err := bus.Request(ctx, y.gateway, contract.SMSOpen, contract.SMSOpenRequest{
		Account: j.Account, Challenge: j.Challenge, Flow: j.Challenge, Purpose: contract.ForEnrolment, Enrolment: "e" + u.id(), Phone: phone,
		Epoch: contract.Epoch{Population: 1, Person: 1}, PortalName: "Bench Portal", Host: "portal.bench.test", Network: "192.0.2.0/24",
	})
	j.ExpiresAt = r.ExpiresAt
	return j, err
}

// openMany opens so many challenges, or as many as there is time for.
func (y *yard) openMany(ctx context.Context, n int, bound time.Duration) ([]job, error) {
	var mu sync.Mutex
	var out []job
	next := queueOf(indexes(n))
	_, err := drive(8, bound, func(int) error {
		if _, err := next(); err != nil {
			return err
		}
		j, err := y.openOne(ctx)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		out = append(out, j)
		return nil
	})
	return out, err
}

// publish asks for the text of each job.
func (y *yard) publish(ctx context.Context, jobs []job) error {
	next := queueOf(jobs)
	_, err := drive(32, time.Minute, func(int) error {
		j, err := next()
		if err != nil {
			return err
		}
		return bus.Publish(ctx, y.gateway, contract.ChallengeRequested, "requested-"+j.Challenge, j.ChallengeRequest)
	})
	return err
}

// idle waits until no job waits or is worked on.
func (y *yard) idle(ctx context.Context, bound time.Duration) error {
	begin := time.Now()
	for tick := time.Tick(50 * time.Millisecond); ; <-tick {
		pending, inHand, err := bus.Backlog(ctx, y.watcher, contract.ChallengeRequested)
		if err == nil && pending+inHand == 0 {
			return nil
		}
		if time.Since(begin) > bound {
			return fmt.Errorf("after %v %d jobs wait and %d are in hand: %w", bound, pending, inHand, err)
		}
	}
}

// arrived is when the endpoint took the texts of these jobs; it remembers a thousand.
func (y *yard) arrived(ctx context.Context, jobs []job) ([]time.Time, error) {
	wanted := make(map[string]bool, len(jobs))
	for _, j := range jobs {
		wanted[j.number] = true
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, y.sandbox+"/messages", nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var all []struct {
		To string
		At time.Time
	}
	if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
		return nil, err
	}
	var out []time.Time
	for _, m := range all { // oldest first
		if wanted[m.To] {
			out = append(out, m.At)
		}
	}
	return out, nil
}

// bare hands texts over with the AWS SDK alone, each of so many clients one after the other.
func (y *yard) bare(ctx context.Context, clients, n int) ([]job, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = clients
	defer transport.CloseIdleConnections()
	c := sns.New(sns.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(y.sandbox), RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("sandbox", "sandbox", ""),
	})
	jobs := make([]job, n)
	for i := range jobs {
		jobs[i].number = user{n: int(y.serial.Add(1))}.number()
	}
	next := queueOf(jobs)
	_, err := drive(clients, time.Minute, func(int) error {
		j, err := next()
		if err != nil {
			return err
		}
		_, err = c.Publish(ctx, &sns.PublishInput{PhoneNumber: &j.number, Message: aws.String("123456 is your Bench Portal code.\n@portal.bench.test #123456")})
		return err
	})
	return jobs, err
}
