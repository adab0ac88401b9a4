/**
 * The floors of each package, lowest first: a module imports only from floors below its own.
 *
 * One line is one floor; its number is its place in the list. To add a module, add its name to a line.
 */
export const floors: Readonly<Record<string, ReadonlyArray<string>>> = {
  core: [
    "Bindings Hash Heartbeat OptionsError Pressure Pulse Task Time Waits",
    "ConnectError Connectivity Demand DrainReport Endpoint Outcome",
    "Event Health HealthStats Lease Session Snapshot Watch",
    "Borrow Connector EndpointSet EventLog Upstream",
    "Backoff Child Estimate Gauges HealthVerdict Outbox Reconnect RetryBudget RetryThrottle",
    "Hysteresis Merge Publisher SlowStart Subset",
    "Ejection LiveConnection OutlierRules Race Resolver",
    "HealthGate Outlier OutlierRecord",
    "OutlierDetector SubchannelOptions SubchannelSnapshot",
    "Subchannel",
    "Member Pool",
    "Policy Ring Weights",
    "Turns",
    "Affinity ClusterOptions LeastRequest PeakEwma PickFirst RingHash RoundRobin Tier Trials WeightedRoundRobin Zone",
    "Balancer WaitQueue",
    "Bracket Pings Ready Rotation Silence",
    "Members",
    "Drain",
    "Cluster",
    "index"
  ],
  grpc: [
    "DnsService",
    "Credentials Generated Metadata Method Protobuf ServiceConfigJson Spelling Surroundings DnsAnswer DnsNode ThrownError Version",
    "DnsRefresh Target",
    "Call Dns GenericDefinition HealthMessages ProtobufEs ProtobufTs RpcError ServiceConfigFile",
    "CallEnd ClientMethod",
    "CallSpan Channel Connection Status",
    "GrpcJsChannel GrpcJsFailure GrpcJsLookup GrpcJsSettings GrpcJsSockets",
    "GrpcJsCall",
    "GrpcJs",
    "Transport",
    "Deadline RetryGauge RetryPolicy HedgeDelay",
    "Keepalive LastError RetryAttempt RetryPlan RetryTransparent ServiceConfigDuration",
    "ServiceConfigOutlier",
    "HedgeRace RetryLoop ServiceConfigBalancing ServiceConfigSchema",
    "Orca",
    "AuthTokens BridgeCall CallMetrics Client Breaker Fallback Hedge RateLimit RequestId Resume Retry RichError ServiceConfigDecode ServiceConfigDns WaitForReady",
    "Auth CallObserver ServiceConfigExplain ServiceConfigLimits StreamCall UnaryCall",
    "Bridge CallLog CallTracing ServiceConfigMiddleware StackCall",
    "HealthProbe",
    "HealthWatch",
    "HealthCheck",
    "ServiceConfig",
    "GrpcOptions ServiceConfigSlot",
    "Decoded OptionsLeaf",
    "OptionsTarget",
    "GrpcConfigNames Options Resending",
    "Grpc",
    "GrpcConfig",
    "index"
  ],
  testing: [
    "Frame Handler Manners Prng Timers",
    "Health Link Route SeededScheduler TestConnector TestServerCall TestServerSockets TestUpstream VirtualClock",
    "Serve Simulation Socket",
    "ClientStream Host ServerStream TestChannel TestServer",
    "Network ServerConnection VirtualConnection",
    "VirtualDns VirtualServer VirtualTransport",
    "TestNetwork",
    "Faults",
    "index"
  ]
}

/** Modules on one floor that may import one another, as "core/A core/B"; cycles are forbidden all the same. */
export const siblings: ReadonlyArray<string> = []

/** The only modules that may name grpc-js, even as a type: all else can run on another transport. */
export const transport = /^packages\/(grpc\/src\/(GrpcJs\w*|Credentials)|testing\/src\/TestServer\w*)\.ts$/

/** The adapter to grpc-js: the only modules of core and grpc with timers and a clock of their own. */
export const adapter = /^packages\/grpc\/src\/GrpcJs\w*\.ts$/
