package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

const (
	// snsLatency is what the endpoint takes to answer, about as long as SNS does.
	snsLatency = 50 * time.Millisecond
	// scalingTime is how long each rate is measured, if the cores can.
	scalingTime = 3 * time.Second
	// mostTexts is how many texts the endpoint remembers, with some to spare.
	mostTexts = 950
	// youngest is how long challenges may be prepared: at ten seconds they become the reconciler's, whose workers are no
	// part of what is compared.
	youngest = 5 * time.Second
	// backlogJobs is how many jobs lie in the stream when memory is measured.
	backlogJobs = 100_000
)

// scaled is a rate of so many dispatchers beside that of the AWS SDK alone.
type scaled struct {
	Replicas, Workers, Texts int
	Rate, Floor              float64 // per second
	// What one text took of the cores: all dispatchers together, the embedded parts, and in the floor's turn the SDK.
	Dispatchers, Parts, SDK time.Duration
	Busy                    float64 // share of all cores that these processes took meanwhile
}

// backlog is what a long queue does to a dispatcher.
type backlog struct {
	Jobs               int
	Empty, Full, Drain float64 // MiB resident: without a queue, with one that is held up, and at most while it empties
	Behind             uint64  // jobs that were before the fresh one
	Fresh              time.Duration
	Reconciled         bool // the fresh text did not wait for the queue
}

// scaling measures sms-dispatcher alone: replicas in processes of their own, on the embedded parts in another one,
// against an endpoint that takes 50 ms to answer.
func (b *bench) scaling(ctx context.Context) (err error) {
	dispatcher := filepath.Join(b.dir, "sms-dispatcher")
	if err := build("./services/sms-dispatcher", dispatcher); err != nil {
		return err
	}
	y, err := openYard(ctx, b.sallyport, dispatcher, filepath.Join(b.dir, "yard"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	for _, workers := range []int{2, 4, 16} {
		for _, replicas := range []int{1, 2, 4} {
			s, err := y.scale(ctx, replicas, workers)
			if err != nil {
				return fmt.Errorf("%d × %d: %w", replicas, workers, err)
			}
			b.report.scale(s)
		}
	}
	if b.report.StoreAlone, err = y.storeAlone(ctx); err != nil {
		return err
	}
	progress("the document store alone: %s/s", number(b.report.StoreAlone.perSecond()))
	b.report.Backlog, err = y.backlog(ctx)
	return err
}

// storeAlone measures the two writes of a text without everything else: a by-id update that returns the document and one
// that does not, of records that were just sent.
func (y *yard) storeAlone(ctx context.Context) (r result, err error) {
	uri := ""
	for _, v := range y.vars {
		if rest, ok := strings.CutPrefix(v, "MONGODB_URI="); ok {
			uri = rest
		}
	}
	db, err := store.Connect(ctx, store.Options{URI: uri, Database: "sallyport_sms_dispatcher", Name: "bench", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	type record struct {
		ID    string `bson:"_id"`
		Phone []byte `bson:"phone"`
	}
	challenges := store.Of[record](db, "challenges")
	next := queueOf(y.sent)
	return metered(y.pid(), func() (result, error) {
		return drive(16, time.Minute, func(int) error {
			j, err := next()
			if err != nil {
				return err
			}
			var reserve, end store.Change
			put(&reserve.Update, "$set", map[string]any{"worker": "bench", "lease_until": time.Now(), "due": time.Now().Add(time.Minute)})
			put(&reserve.Update, "$inc", map[string]any{"attempts": 1})
			if _, err := challenges.Apply(ctx, j.Challenge, reserve); err != nil {
				return err
			}
			put(&end.Update, "$set", map[string]any{"state": "sent", "due": time.Now().Add(time.Hour), "ended_at": time.Now()})
			_, err = challenges.Update(ctx, j.Challenge, end)
			return err
		})
	})
}

// scale measures so many replicas, and their floor.
func (y *yard) scale(ctx context.Context, replicas, workers int) (s scaled, err error) {
	s = scaled{Replicas: replicas, Workers: workers}
	if err := y.endpoint(ctx, fmt.Sprintf(`{"mode":"none","delay":%q}`, snsLatency)); err != nil {
		return s, err
	}
	clients := replicas * workers
	texts := min(mostTexts, int(float64(clients)*scalingTime.Seconds()/snsLatency.Seconds()))

	before, err := cpuOf(os.Getpid())
	if err != nil {
		return s, err
	}
	bare, err := y.bare(ctx, clients, texts)
	if err != nil {
		return s, err
	}
	after, err := cpuOf(os.Getpid())
	if err != nil {
		return s, err
	}
	s.SDK = (after - before) / time.Duration(texts)
	if s.Floor, err = y.rate(ctx, bare, clients); err != nil {
		return s, err
	}

	if err := y.start(ctx, replicas, workers); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, y.stop()) }()
	warm, err := y.openMany(ctx, 2*clients, youngest)
	if err != nil {
		return s, err
	}
	if err := errors.Join(y.publish(ctx, warm), y.idle(ctx, time.Minute)); err != nil {
		return s, err
	}
	jobs, err := y.openMany(ctx, texts, youngest)
	if err != nil {
		return s, err
	}
	s.Texts = len(jobs)
	ours, parts, self, err := y.cpu()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	if err := errors.Join(y.publish(ctx, jobs), y.idle(ctx, time.Minute)); err != nil {
		return s, err
	}
	wall := time.Since(begin)
	y.sent = jobs
	oursAfter, partsAfter, selfAfter, err := y.cpu()
	if err != nil {
		return s, err
	}
	s.Dispatchers, s.Parts = (oursAfter-ours)/time.Duration(s.Texts), (partsAfter-parts)/time.Duration(s.Texts)
	s.Busy = float64(oursAfter-ours+partsAfter-parts+selfAfter-self) / float64(wall) / float64(runtime.NumCPU())
	s.Rate, err = y.rate(ctx, jobs, clients)
	return s, err
}

// cpu is what the dispatchers, the embedded parts and this process have taken of the cores so far.
func (y *yard) cpu() (dispatchers, parts, self time.Duration, err error) {
	for _, r := range y.replicas {
		one, err := cpuOf(r.cmd.Process.Pid)
		if err != nil {
			return 0, 0, 0, err
		}
		dispatchers += one
	}
	if parts, err = cpuOf(y.pid()); err != nil {
		return 0, 0, 0, err
	}
	self, err = cpuOf(os.Getpid())
	return dispatchers, parts, self, err
}

// rate is how many of these texts the endpoint took per second: from where as many have arrived as are sent at once, to
// the last.
func (y *yard) rate(ctx context.Context, jobs []job, clients int) (float64, error) {
	var at []time.Time
	begin := time.Now()
	// A job that came late was laid aside: its text is the reconciler's, and counts as late as it is.
	for tick := time.Tick(50 * time.Millisecond); len(at) != len(jobs); <-tick {
		var err error
		if at, err = y.arrived(ctx, jobs); err != nil {
			return 0, err
		}
		if time.Since(begin) > time.Minute {
			return 0, fmt.Errorf("%d of %d texts were handed over", len(at), len(jobs))
		}
	}
	if len(at) < 3*clients {
		return 0, fmt.Errorf("%d texts are too few for %d at once: the machine is busy with something else", len(at), clients)
	}
	at = at[clients:]
	return float64(len(at)-1) / at[len(at)-1].Sub(at[0]).Seconds(), nil
}

// backlog measures what a hundred thousand jobs whose codes have expired do to a dispatcher: while they cannot move,
// because the endpoint refuses the account and every worker waits with a job in hand; and when they can, and somebody
// asks for a text behind all of them.
func (y *yard) backlog(ctx context.Context) (out backlog, err error) {
	const workers = 16
	if err := y.endpoint(ctx, fmt.Sprintf(`{"mode":"none","delay":%q}`, snsLatency)); err != nil {
		return out, err
	}
	if err := y.start(ctx, 1, workers); err != nil {
		return out, err
	}
	warm, err := y.openMany(ctx, 10*workers, youngest)
	if err != nil {
		return out, err
	}
	if err := errors.Join(y.publish(ctx, warm), y.idle(ctx, time.Minute), rest(ctx)); err != nil {
		return out, err
	}
	if out.Empty, err = memoryOf(y.replicas[0].cmd.Process.Pid, "VmRSS"); err != nil {
		return out, err
	}

	if err := y.endpoint(ctx, `{"mode":"credentials"}`); err != nil {
		return out, err
	}
	held, err := y.openMany(ctx, 4*workers, youngest) // more than a dispatcher takes in hand
	if err != nil {
		return out, err
	}
	if err := y.publish(ctx, held); err != nil {
		return out, err
	}
	progress("publishing %d jobs", backlogJobs)
	old := make([]job, backlogJobs)
	for n := range old {
		old[n].ChallengeRequest = contract.ChallengeRequest{
			Account: user{n: n, phone: true}.account(), Challenge: bus.NewID(), ExpiresAt: time.Now().Add(-time.Minute),
		}
	}
	if err := y.publish(ctx, old); err != nil {
		return out, err
	}
	if err := rest(ctx); err != nil {
		return out, err
	}
	pending, _, err := bus.Backlog(ctx, y.watcher, contract.ChallengeRequested)
	if err != nil {
		return out, err
	}
	if out.Jobs = int(pending); out.Jobs < backlogJobs/2 {
		return out, fmt.Errorf("%d of %d jobs are in the queue: it is not held up", out.Jobs, backlogJobs)
	}
	if out.Full, err = memoryOf(y.replicas[0].cmd.Process.Pid, "VmRSS"); err != nil {
		return out, err
	}

	// Another process takes the queue over, and the endpoint is well.
	if err := errors.Join(y.stop(), y.endpoint(ctx, `{"mode":"none"}`)); err != nil {
		return out, err
	}
	if err := y.start(ctx, 1, workers); err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, y.stop()) }()
	fresh, err := y.openOne(ctx)
	if err != nil {
		return out, err
	}
	if err := y.publish(ctx, []job{fresh}); err != nil {
		return out, err
	}
	if out.Behind, _, err = bus.Backlog(ctx, y.watcher, contract.ChallengeRequested); err != nil {
		return out, err
	}
	for tick := time.Tick(20 * time.Millisecond); ; <-tick {
		at, err := y.arrived(ctx, []job{fresh})
		if err != nil {
			return out, err
		}
		if len(at) > 0 {
			out.Fresh = at[0].Sub(fresh.opened)
			break
		}
		if time.Since(fresh.opened) > time.Minute {
			return out, errors.New("the fresh text is not sent within a minute")
		}
	}
	left, _, err := bus.Backlog(ctx, y.watcher, contract.ChallengeRequested)
	if err != nil {
		return out, err
	}
	out.Reconciled = left > 0
	if err := y.idle(ctx, 2*time.Minute); err != nil {
		return out, err
	}
	out.Drain, err = memoryOf(y.replicas[0].cmd.Process.Pid, "VmHWM")
	return out, err
}

// rest lets a process settle before its memory is looked at.
func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * time.Second):
		return nil
	}
}
