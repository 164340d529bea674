package main

import (
	"fmt"
	"runtime"
	"time"
)

// scale adds a rate of sms-dispatcher.
func (r *report) scale(s scaled) {
	r.Scaled = append(r.Scaled, s)
	name := fmt.Sprintf("replicas=%d/workers=%d-%d", s.Replicas, s.Workers, runtime.GOMAXPROCS(0))
	fmt.Fprintf(r.out, "BenchmarkTextsSent/%s\t%8d\t%12.0f ns/op\t%12d cpu-ns\n", name, s.Texts, 1e9/s.Rate, s.Dispatchers)
	fmt.Fprintf(r.out, "BenchmarkTextsSentFloor/%s\t%8d\t%12.0f ns/op\t%12d cpu-ns\n", name, s.Texts, 1e9/s.Floor, s.SDK)
	progress("%d × %d workers: %s/s, %.2f of the SDK alone; CPU per text: dispatchers %v, embedded parts %v, SDK alone %v; cores %.0f %% busy",
		s.Replicas, s.Workers, number(s.Rate), s.Rate/s.Floor, s.Dispatchers, s.Parts, s.SDK, 100*s.Busy)
}

// allowed is how many texts the cores of this machine have room for, if they did nothing else.
func (s scaled) allowed() float64 {
	return float64(runtime.NumCPU()) * float64(time.Second) / float64(max(1, s.Dispatchers+s.Parts))
}

// room is how many texts so many replicas could send here: each as many as one, as far as the cores and the embedded
// store, which takes one command at a time, have room for them.
func (r *report) room(s scaled) float64 {
	most := min(float64(s.Replicas)*r.alone(s).Rate, s.allowed())
	if store := r.StoreAlone.perSecond(); store > 0 {
		most = min(most, store)
	}
	return most
}

// alone is the figure of one replica with as many workers.
func (r *report) alone(s scaled) scaled {
	for _, one := range r.Scaled {
		if one.Replicas == 1 && one.Workers == s.Workers {
			return one
		}
	}
	return s
}

// scalingAims are the rows of the table of aims.
func (r *report) scalingAims(row func(...string), kept func(bool) string) {
	floor, linear := 1e9, 1e9
	for _, s := range r.Scaled {
		if s.Replicas == 1 {
			floor = min(floor, s.Rate/min(s.Floor, s.allowed()))
		} else {
			linear = min(linear, s.Rate/r.room(s))
		}
	}
	if len(r.Scaled) > 0 {
		row("texts of one dispatcher: at least 0.9 of the AWS SDK alone, as far as the cores allow", fmt.Sprintf("%.2f at worst", floor), kept(floor >= .9))
		row("texts of 2 and 4 dispatchers: at least 0.85 of as many times one, as far as cores and embedded store allow", fmt.Sprintf("%.2f at worst", linear), kept(linear >= .85))
	}
	if l := r.Backlog; l.Jobs > 0 {
		most := max(l.Full, l.Drain)
		row(fmt.Sprintf("a dispatcher's memory is flat with %s jobs in the queue", number(float64(l.Jobs))), fmt.Sprintf("%.0f MiB, %.0f MiB without", most, l.Empty), kept(most < l.Empty+32))
	}
}

// scalingFigures are the section of their own.
func (r *report) scalingFigures(say func(string, ...any), table, row func(...string)) {
	if len(r.Scaled) > 0 {
		say("## Text messages by replicas\n")
		say("1, 2 and 4 sms-dispatchers in processes of their own; NATS, document store and SNS endpoint in another (`sallyport infra`). The endpoint answers")
		say("after %v. All jobs are published at once; the rate is that of arrivals at the endpoint, from the first after as many as are sent at once, to", snsLatency)
		say("the last. The floor is the AWS SDK in a bare loop with as many clients, against the same endpoint. A text is two writes of its record, one job")
		say("and one fact. \"The cores allow\" is what %d cores could do if they did nothing but these dispatchers and the embedded parts, at the CPU of that", runtime.NumCPU())
		say("row: where the rate is near it, more replicas on this machine only share it. On others each brings its own.")
		if l := r.StoreAlone; len(l.Took) > 0 {
			say("The embedded store takes one command at a time: the two writes of a text, alone, reach %s texts per second (CPU each %v); a MongoDB has", number(l.perSecond()), ms(l.cpuPerOperation()))
			say("no such bound. \"Of what there is room for\" is the share of as many times one replica, where cores and store have room for that.")
		}
		say("")
		table("replicas × workers", "texts", "per second", "of one replica", "of what there is room for", "the cores allow", "cores busy", "CPU each, dispatchers", "embedded parts", "SDK alone", "floor per second", "share of the floor")
		for _, s := range r.Scaled {
			row(fmt.Sprintf("%d × %d", s.Replicas, s.Workers), fmt.Sprint(s.Texts), number(s.Rate), fmt.Sprintf("%.2f ×", s.Rate/r.alone(s).Rate), fmt.Sprintf("%.2f", s.Rate/r.room(s)), number(s.allowed()),
				fmt.Sprintf("%.0f %%", 100*s.Busy), ms(s.Dispatchers), ms(s.Parts), ms(s.SDK), number(s.Floor), fmt.Sprintf("%.2f", s.Rate/s.Floor))
		}
		say("")
	}
	if l := r.Backlog; l.Jobs > 0 {
		say("### Behind a long queue\n")
		say("A dispatcher with nothing to do holds %.0f MiB. With %s jobs in the queue, which cannot move because the endpoint refuses the account,", l.Empty, number(float64(l.Jobs)))
		say("it holds %.0f MiB, and another one that empties the queue %.0f MiB at most.\n", l.Full, l.Drain)
		how := "when the queue before it was empty"
		if l.Reconciled {
			how = "past the queue, by the reconciler"
		}
		say("The codes of those jobs have expired. A text that was asked for behind %s of them went out after %.1f s, %s.\n", number(float64(l.Behind)), l.Fresh.Seconds(), how)
	}
}
