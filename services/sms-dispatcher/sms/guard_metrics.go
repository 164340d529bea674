package sms

import (
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
)

// guardMetrics are those of the guards against abuse. Countries are those that may be texted; all others are "other".
type guardMetrics struct {
	guarded    *prometheus.CounterVec
	stopped    *prometheus.GaugeVec
	settled    *prometheus.CounterVec
	texts      *prometheus.CounterVec
	cost       *prometheus.CounterVec
	budgetLeft prometheus.Gauge
}

func newGuardMetrics(r prometheus.Registerer, s Settings) guardMetrics {
	m := guardMetrics{
		guarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_guard_total", Help: "Text messages that a guard refused, or would have refused if it did not only record.",
		}, []string{"guard", "action"}),
		stopped: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_sms_country_stopped", Help: "Portals for which a country is stopped because too few codes come back.",
		}, []string{"country"}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_settled_total", Help: "Text messages that were handed over and whose code is over, by country and whether it was typed.",
		}, []string{"country", "outcome"}),
		texts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_texts_total", Help: "Text messages that SNS has taken, by country.",
		}, []string{"country"}),
		cost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_cost_usd_total", Help: "What those texts cost by the prices that are set.",
		}, []string{"country"}),
		budgetLeft: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_sms_budget_left", Help: "Text messages that are left of today's budget.",
		}),
	}
	r.MustRegister(m.guarded, m.stopped, m.settled, m.texts, m.cost)
	if s.DailyBudget > 0 {
		r.MustRegister(m.budgetLeft)
		m.budgetLeft.Set(float64(s.DailyBudget))
	}
	for _, g := range contract.Guards() {
		m.guarded.WithLabelValues(string(g), "blocked")
		m.guarded.WithLabelValues(string(g), "recorded")
	}
	for _, country := range s.Countries.labels() {
		m.stopped.WithLabelValues(country)
		m.settled.WithLabelValues(country, "answered")
		m.settled.WithLabelValues(country, "unanswered")
		m.texts.WithLabelValues(country)
		m.cost.WithLabelValues(country)
	}
	return m
}
