package contract

import "time"

// Messages lists every call and event with a filled sample: the source of the message table in
// docs/architecture.md, of the golden wire forms, and of the NATS permissions.
func Messages() []Message {
	at := time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)
	until := at.Add(30 * time.Second)
	who := Account{Portal: "northwind", User: "u7q2"}
	epoch := Epoch{Population: 2, Person: 1}
	info := FactorInfo{Factor: FactorTOTP, Enrolment: "en1", Label: "Pixel 9", Since: at}
	decide := DecideRequest{Account: who, Audience: Internal, Again: true}
	settings := Settings{
		Internal:      PopulationSettings{Mode: ModeRequired},
		Organizations: OrganizationSettings{Mode: ModeRequired, AllowOptOut: true}, Version: 3,
	}
	after := settings
	after.Internal.Mode, after.Version = ModeOff, 4
	decision := Decision{
		Action: Challenge, Factor: FactorTOTP, Mode: ModeRequired, MayEnroll: true, Standing: Enrolled,
		Factors: []FactorInfo{info}, Epoch: epoch,
	}
	decision.Reset = &ResetNote{at, ResetByAdmin}
	rule := CountingRule{ModeRequired, 2, true, 1}
	rules := PortalRules{rule, rule}
	lock := Lock{5, &until}
	unlock := UnlockRequest{who, "ul1", "u9", "called us"}
	note := AuditNote{"northwind", AuditUserChanged, "u9", "u7q2", "moved", map[string]string{"organization": "Globex"}, at}
	confirmation := Confirmation{FactorInfo: info, Epoch: epoch}
	return []Message{
		call(PolicyDecide, decide, decision),
		call(PolicySkip, SkipRequest{DecideRequest: DecideRequest{Account: who, Audience: Organization}}, Decision{Action: Allow, Mode: ModeRequired, MayEnroll: true, Standing: Skipped, Epoch: epoch}),
		call(PolicyRecord, RecordRequest{who, info, epoch}, Empty{}),
		call(PolicyReset, ResetRequest{who, "rs1", "u9", ResetByAdmin, "lost phone", "se1", true}, Empty{}),
		call(PolicySettings, SettingsRequest{"northwind"}, settings),
		call(PolicyChange, ChangeRequest{"northwind", "u9", settings}, after),
		call(PolicyRules, RulesRequest{"northwind", &after}, RulesReply{settings, rules, rules}),
		call(PolicyStanding, decide, StandingReply{decision, 4, 2, &info, 1, 1}),
		call(PolicyEnable, EnableRequest{DecideRequest{Account: who, Audience: Organization}, "wi1"}, Empty{}),
		call(PolicyRename, RenameRequest{who, FactorTOTP, "en1", "Pixel 10"}, Empty{}),
		call(PolicyAudit, AuditRequest{"account-ac1", note}, Empty{}),
		call(PolicyAuditList, AuditListRequest{"northwind", "u7q2", AuditUserChanged, at, at.Add(time.Hour), "00000000000007", 50},
			AuditPage{[]AuditEntry{{7, "account-ac1", note, "rq1", "9f86d081"}}, "00000000000006"}),
		call(TOTPBegin, TOTPBeginRequest{who, "en1", "Northwind Portal", "dana@northwind.test", epoch}, TOTPBeginReply{"c2VhbGVk", at.Add(10 * time.Minute)}),
		call(TOTPConfirm, TOTPConfirmRequest{who, "en1", "c2VhbGVk", "Pixel 9"}, confirmation),
		call(TOTPVerify, TOTPVerifyRequest{who, "en1", "c2VhbGVk"}, Empty{}),
		call(TOTPRegenerate, RegenerateRequest{who, epoch}, RegenerateReply{"c2VhbGVk"}),
		call(TOTPRecover, RecoverRequest{who, "c2VhbGVk", epoch}, RecoverReply{"rc1", 9}),
		call(TOTPStatus, StatusRequest{who}, TOTPStatusReply{9, 2, &lock, &Lock{Failures: 50}, 4}),
		call(TOTPUnlock, unlock, UnlockReply{true}),
		call(SMSOpen, SMSOpenRequest{who, "ch1", "si1", ForEnrolment, "en2", epoch, "c2VhbGVk", "Northwind Portal", "portal.northwind.test", "192.0.2.0/24"},
			SMSOpenReply{"xxx-xxx-9443", at.Add(30 * time.Second), at.Add(5 * time.Minute), 5}),
		call(SMSConfirm, SMSConfirmRequest{who, "ch1", "si1", "en2", "c2VhbGVk"}, confirmation),
		call(SMSVerify, SMSVerifyRequest{who, "ch1", "si1", ForSignIn, "c2VhbGVk"}, Empty{}),
		call(SMSStatus, SMSStatusRequest{who, "ch1"}, SMSStatusReply{DeliveryFailed, ReasonOptedOut, true, at.Add(30 * time.Second), at, "xxx-xxx-9443", &lock, 4}),
		call(SMSUnlock, unlock, UnlockReply{true}),
		call(SMSDeliveries, DeliveriesRequest{"northwind", "u7q2", ForSignIn, at, at.Add(time.Hour), "ch9", 50},
			DeliveriesPage{[]DeliveryInfo{{"ch1", "u7q2", ForSignIn, "xxx-xxx-9443", DeliverySent, ReasonCarrier, 1, "ms1", at, at.Add(time.Second), at.Add(20 * time.Second)}}, "ch1"}),
		call(SMSTraffic, TrafficRequest{"northwind"}, TrafficReply{[]CountryTraffic{{"GB", 60, 3, &until, true}}, true}),
		event(ChallengeRequested, ChallengeRequest{who, "ch1", at.Add(5 * time.Minute)}),
		event(EnrolmentStarted, EnrolmentFact{who, info, epoch}),
		event(EnrolmentConfirmed, EnrolmentFact{who, info, epoch}),
		event(EnrolmentReset, ResetFact{who, "rs1", "u9", ResetByAdmin, "lost phone", "se1", epoch, at, true}),
		event(EnrolmentSkipped, PersonFact{who, at}),
		event(StandingChanged, StandingFact{who, 4}),
		event(EnrolmentEnabled, PersonFact{who, at}),
		event(SettingsChanged, SettingsFact{"northwind", "u9", settings, after, at}),
		event(ChallengeEnded, ChallengeFact{who, "ch1", OutcomeFailed, ReasonOptedOut, 1, at}),
		event(FactorLocked, LockFact{who, FactorTOTP, 5, &until, at}),
		event(FactorUnlocked, UnlockFact{who, FactorTOTP, "u9", "called us", at}),
		event(AccountChanged, note),
		event(TextsLimited, LimitFact{who, GuardNumber, "xxx-xxx-9443", 5, 600, true, at}),
		event(TextsStopped, StopFact{Portal: "northwind", Country: "GB", Sent: 60, Answered: 3, Until: &until, Recorded: true, At: at}),
		event(TextsResumed, StopFact{Portal: "northwind", Country: "GB", Sent: 60, Answered: 3, Actor: "operator:ops", Reason: "carrier mended", At: at}),
		event(FactorRecovered, RecoveryFact{who, "rc1", 9, at}),
	}
}

func call[Req, Rep any](c Call[Req, Rep], sample Req, reply Rep) Message {
	return Message{
		Subject: c.Subject, Kind: "call", From: []Service{AuthGateway}, To: []Service{c.Server}, Doc: c.Doc,
		Sample: sample, Reply: reply,
	}
}

func event[T any](e Event[T], sample T) Message {
	return Message{Subject: e.Subject, Kind: "event", Stream: e.Stream, From: e.From, To: e.To, Doc: e.Doc, Sample: sample}
}
