// Once for all specs: a gate with two nodes, the second through nginx; an admin and a vendor, both signed in.
import type { TestProject } from 'vitest/node';
import { DIRECTIVES, Front } from './front';
import { executable, Gate } from './gate';

export interface World {
  /** The gate's own port. */
  port: number;
  /** nginx before it. */
  front: number;
  program: string;
  dir: string;
  admin: string;
  vendor: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    world: World;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const gate = await Gate.start();
  const front = await Front.start(DIRECTIVES(gate.port));
  const stop = async () => {
    await gate.stop();
    await front.stop();
  };
  try {
    await gate.join('gpu-2', front.port, { env: 'staging', gpu: 'a100' });
    const admin = await gate.person('ann', 'admin');
    const vendor = await gate.person('vic', 'vendor');
    project.provide('world', {
      port: gate.port, front: front.port, program: executable(), dir: gate.dir,
      admin: await admin.cookie(gate.port), vendor: await vendor.cookie(gate.port),
    });
  } catch (error) {
    console.error(gate.log());
    await stop();
    throw error;
  }
  return stop;
}
