// Which specs run in which half: the long ones are dealt first, so that both halves end at about the same time.
import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Seconds of those that take longer than others, most of it waiting. What is not named counts as `USUAL`. */
const LONG: Record<string, number> = {
  lock: 120, watch: 90, 'files-large': 80, stalls: 75, pages: 65, deep: 60, terminal: 50, snapshots: 50, kept: 40, 'sign-in': 30, fronts: 30, player: 25,
};
const USUAL = 15;
const seconds = (file: TestSpecification) => LONG[basename(file.moduleId, '.spec.ts')] ?? USUAL;

export default class Halves extends BaseSequencer {
  override async shard(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { index, count } = this.ctx.config.shard!;
    const hands = Array.from({ length: count }, () => ({ files: [] as TestSpecification[], sum: 0 }));
    for (const file of files.toSorted((a, b) => seconds(b) - seconds(a) || (a.moduleId < b.moduleId ? -1 : 1))) {
      const hand = hands.reduce((least, one) => (one.sum < least.sum ? one : least));
      hand.files.push(file);
      hand.sum += seconds(file);
    }
    return hands[index - 1]!.files;
  }
}
