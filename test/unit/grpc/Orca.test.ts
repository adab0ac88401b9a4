import { assert, describe, it } from "@effect/vitest"
import { PerRequestMetricRecorder } from "@grpc/grpc-js/build/src/orca.js"
import * as Orca from "@hawser/grpc/Orca"
import { seeds } from "../../support/core/members.ts"
import { Dice } from "../../support/core/prng.ts"

/** A report as grpc-js's own servers write it. */
const drawn = (dice: Dice) => {
  const figure = () => (dice.chance(0.3) ? 0 : dice.next() * 10 ** dice.below(5))
  const [cpu, memory, application, requests, errors] = [figure(), figure(), figure(), figure(), figure()]
  const recorder = new PerRequestMetricRecorder()
  recorder.recordCPUUtilizationMetric(cpu)
  recorder.recordMemoryUtilizationMetric(memory)
  recorder.recordApplicationUtilizationMetric(application)
  recorder.recordQpsMetric(requests)
  recorder.recordEpsMetric(errors)
  recorder.recordUtilizationMetric("disk", dice.next())
  recorder.recordRequestCostMetric("rows", dice.below(100))
  const named = new Map<string, number>()
  for (let i = dice.below(4); i > 0; i--) {
    named.set(`queue-${i}-größe`, dice.next())
    recorder.recordNamedMetric(`queue-${i}-größe`, named.get(`queue-${i}-größe`)!)
  }
  const report = {
    utilization: application > 0 ? application : cpu,
    requestsPerSecond: requests,
    errorsPerSecond: errors,
    cpu,
    memory,
    named
  }
  return { bytes: new Uint8Array(recorder.serialize()), report }
}

const double = (value: number) => [...new Uint8Array(Float64Array.of(value).buffer)]
const entry = (name: string, value: number) => {
  const text = [...Buffer.from(name)]
  const body = [0x0a, text.length, ...text, 0x11, ...double(value)]
  return [0x42, body.length, ...body]
}

describe("Orca", () => {
  it("reads what grpc-js's servers write, from any seed", () => {
    for (const seed of seeds(300)) {
      const { bytes, report } = drawn(new Dice(seed))
      assert.deepStrictEqual(Orca.decode(bytes), report, `seed ${seed}`)
    }
  })

  it("never throws and never hangs, whatever bytes come, and what is cut short within a field is no report", () => {
    for (const seed of seeds(500)) {
      const dice = new Dice(seed)
      const { bytes } = drawn(dice)
      const broken = bytes.slice(0, dice.below(bytes.length + 1))
      for (let i = dice.below(4); i > 0 && broken.length > 0; i--) broken[dice.below(broken.length)] = dice.below(256)
      const noise = Uint8Array.from({ length: dice.below(200) }, () => dice.below(256))
      for (const one of [broken, noise]) {
        const report = Orca.decode(one)
        if (report === undefined) continue
        const { named, ...figures } = report
        for (const value of [...Object.values(figures), ...named!.values()] as Array<number>) {
          assert.isTrue(value >= 0 && value < Infinity, `seed ${seed}: ${value}`)
        }
      }
    }
    assert.strictEqual(Orca.decode(Uint8Array.of(0x09, ...double(0.5).slice(1))), undefined)
  })

  it("takes figures that make no sense for none", () => {
    for (const value of [NaN, Infinity, -Infinity, -1, -0]) {
      const { cpu, named } = Orca.decode(Uint8Array.of(0x09, ...double(value), ...entry("a", value)))!
      assert.deepStrictEqual([cpu, named!.get("a")], [0, 0])
    }
  })

  it("passes over fields that it does not know, of every type but groups, and the last of two counts", () => {
    const half = double(0.5)
    const other = [0x18, 0xff, 0xff, 0x03, 0xf2, 0x06, 2, 1, 2, 0xf9, 0x06, ...half, 0xfd, 0x06, 1, 2, 3, 4]
    assert.strictEqual(Orca.decode(Uint8Array.of(...other, 0x09, ...double(9), 0x09, ...half))!.cpu, 0.5)
    // A figure of another type is not that figure.
    assert.strictEqual(Orca.decode(Uint8Array.of(0x08, 1))!.cpu, 0)
    for (const wrong of [
      [0x0b],
      [0x0c],
      [0x0e],
      [0x0f],
      [0x00],
      [0x01, ...half],
      [0x08],
      [0x08, ...Array(11).fill(0xff)]
    ]) {
      assert.strictEqual(Orca.decode(Uint8Array.from(wrong)), undefined, wrong.join())
    }
    // A length of nearly 2^32.
    assert.strictEqual(Orca.decode(Uint8Array.of(0x42, 0xff, 0xff, 0xff, 0xff, 0x0f, 1)), undefined)
    assert.strictEqual(Orca.decode(Uint8Array.of(0x42, 1, 0x0a)), undefined)
    assert.deepStrictEqual(Orca.decode(new Uint8Array(0)), {
      utilization: 0,
      requestsPerSecond: 0,
      errorsPerSecond: 0,
      cpu: 0,
      memory: 0,
      named: new Map()
    })
  })

  it("keeps a hundred names at most, takes names for what they are, and no more than 16 KiB", () => {
    const many = Array.from({ length: 300 }, (_, i) => entry(`n${i}`, i + 1)).flat()
    const { named } = Orca.decode(Uint8Array.from([...many, ...entry("n7", 70)]))!
    assert.strictEqual(named!.size, 100)
    assert.strictEqual(named!.get("n7"), 70)
    assert.deepStrictEqual([...Orca.decode(Uint8Array.from(entry("__proto__", 1)))!.named!], [["__proto__", 1]])
    assert.strictEqual(Orca.decode(new Uint8Array(16_385)), undefined)
  })
})
